"""a file of a form → a link to its translation, which is kept for a while."""

import asyncio
from collections.abc import Callable
from pathlib import PurePath

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from service.compat.libretranslate.about import translates_files
from service.compat.libretranslate.documents import Document, Lines
from service.compat.libretranslate.docx import Docx
from service.compat.libretranslate.files import Files
from service.compat.libretranslate.html import Html
from service.compat.libretranslate.said import (
    AUTO,
    OPEN,
    asked_of,
    invalid,
    model_of,
    within_limit,
)
from service.compat.libretranslate.translator import TASK, Translator, assets_of, ranked
from service.compat.surface import Entrance, Handler
from service.errors import Forbidden, TooLarge
from service.http_body import File, chunks, form_items

MAX_DOCUMENT_CHARS = 200_000
MAX_PAGE_BYTES = 4 << 20
"""Of a .txt or .html, tags included."""
KINDS: dict[str, Callable[[bytes, int | None], Document]] = {
    ".txt": lambda content, _: Lines(content),
    ".html": lambda content, _: Html.of_file(content),
    ".htm": lambda content, _: Html.of_file(content),
    ".docx": Docx,
}
DOWNLOAD = {
    # A page of somebody's, from our host: it is to be kept, and never shown as ours.
    "content-disposition": "attachment",
    "x-content-type-options": "nosniff",
    **OPEN,
}


def _read(kind: str, content: bytes, limit_bytes: int | None) -> Document:
    """The texts of a file; raises a Problem where it is none, or has too many."""
    if kind != ".docx" and len(content) > MAX_PAGE_BYTES:
        raise TooLarge(f"the file is over the limit of {MAX_PAGE_BYTES} bytes")
    try:
        document = KINDS[kind](content, limit_bytes)
    except (ValueError, LookupError) as error:
        raise invalid(f"the file is not {kind}: {str(error)[:80]}") from error
    texts = [marked.text for marked in document.marked]
    within_limit(texts)
    within_limit(["".join(texts)], MAX_DOCUMENT_CHARS)
    return document


def of_files(entrance: Entrance) -> list[tuple[str, str, Handler]]:
    """Paths, their methods and handlers."""
    engine, settings = entrance.engine, entrance.engine.settings
    files = Files(settings.files_dir, settings.files_bytes, settings.files_keep_s)

    async def translate_file(request: Request) -> Response:
        if not translates_files(settings):
            raise Forbidden("Files translation are disabled on this server.")
        with entrance.call(TASK, request) as call:
            body = chunks(request, settings.max_body_bytes)
            media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
            if media != "multipart/form-data":
                raise invalid("missing file parameter")
            said = dict(await call.read(form_items(request.headers, body)))
            file = said.pop("file", None)
            if not isinstance(file, File):
                raise invalid("missing file parameter")
            kind = PurePath(file.name).suffix.lower()
            if kind not in KINDS:
                raise invalid("file format not supported")
            there = await assets_of(engine, model_of(said))
            asked = asked_of(said, there.directions, settings.max_json_depth)
            limit_bytes = settings.max_unpacked_bytes
            document = await asyncio.to_thread(_read, kind, file, limit_bytes)
            source = asked.source
            if source == AUTO:
                text = "\n".join(marked.text for marked in document.marked)
                source = (await ranked([text], there))[0][0][0]
            await Translator(engine, call, there, asked, source).document(document)
            content = await asyncio.to_thread(document.content)
            name = f"{PurePath(file.name).stem}_{asked.target}{kind}"
            given = await asyncio.to_thread(files.put, name, content)
            url = f"{request.base_url}download_file/{given}"
            return JSONResponse({"translatedFileUrl": url}, headers=OPEN)

    async def download(request: Request) -> Response:
        content = await asyncio.to_thread(files.get, request.path_params["name"])
        return Response(content, headers=DOWNLOAD, media_type="application/octet-stream")

    return [
        ("/translate_file", "POST", translate_file),
        ("/download_file/{name}", "GET", download),
    ]
