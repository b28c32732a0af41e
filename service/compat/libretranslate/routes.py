"""paths of the API → their handlers, that of texts and html first."""

import asyncio
from collections.abc import Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from service.compat.detection import Ranking
from service.compat.libretranslate.about import about, confidence
from service.compat.libretranslate.glossary import Made
from service.compat.libretranslate.html import Html
from service.compat.libretranslate.said import (
    AUTO,
    OPEN,
    asked_of,
    fields_of,
    invalid,
    model_of,
    refuse,
    texts_of,
)
from service.compat.libretranslate.translate_file import KINDS, of_files
from service.compat.libretranslate.translator import TASK, Translator, assets_of, ranked
from service.compat.surface import Entrance, Handler, route


def routes(entrance: Entrance) -> list[Route]:
    """The paths of the API."""
    engine, settings = entrance.engine, entrance.engine.settings

    async def translate(request: Request) -> Response:
        with entrance.call(TASK, request) as call:
            said = fields_of(request, await call.body(), settings.max_json_depth)
            there = await assets_of(engine, model_of(said))
            texts = texts_of(said)
            asked = asked_of(said, there.directions, settings.max_json_depth)
            pages = await asyncio.to_thread(_pages, texts) if asked.html else []
            shown = [page.text() for page in pages] if pages else texts
            rankings = await ranked(shown, there) if asked.source == AUTO else []
            made = [Made(text) for text in texts]
            for spoken in sorted({ranking[0][0] for ranking in rankings} or {asked.source}):
                where = [
                    at
                    for at in range(len(texts))
                    if not rankings or (rankings[at][0][0] == spoken and rankings[at][0][1] > 0)
                ]
                translator = Translator(engine, call, there, asked, spoken)
                if pages:
                    for at in where:
                        await translator.document(pages[at])
                        made[at] = Made(str(pages[at]))
                    continue
                given = await translator.texts([texts[at] for at in where])
                for at, one in zip(where, given, strict=True):
                    made[at] = one
            many = asked.alternatives > 0
            return JSONResponse(_answer(said["q"], made, many, rankings), headers=OPEN)

    async def allowed(request: Request) -> Response:
        return Response(status_code=204, headers=OPEN)

    told: list[tuple[str, str, Handler]] = [
        ("/translate", "POST", translate),
        *of_files(entrance),
        *about(entrance, [*KINDS]),
    ]
    return [
        route(entrance, path, {method: handler, "OPTIONS": allowed}, refuse)
        for path, method, handler in told
    ]


def _pages(texts: Sequence[str]) -> list[Html]:
    try:
        return [Html(text) for text in texts]
    except ValueError as error:
        raise invalid(f"q parameter is not html: {error}") from error


def _answer(
    q: Any, made: Sequence[Made], many: bool, rankings: Sequence[Ranking]
) -> dict[str, Any]:
    """What is said of one text, or lists of it where a list was asked for."""
    whole: dict[str, list[Any]] = {"translatedText": [one.text for one in made]}
    if many:
        whole["alternatives"] = [one.alternatives for one in made]
    if rankings:
        whole["detectedLanguage"] = [confidence(ranking[0]) for ranking in rankings]
    return {name: of if isinstance(q, list) else of[0] for name, of in whole.items()}
