"""the models that are there → what clients are told: languages, settings, what a text is in."""

from collections.abc import Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from service.compat.libretranslate.said import AUTO, NAMES, OPEN, fields_of, model_of, texts_of
from service.compat.libretranslate.translator import TASK, assets_of, ranked
from service.compat.surface import Entrance, Handler
from service.errors import Forbidden
from service.settings import Settings
from service.tasks.translation import MAX_TEXT_CHARS

FRONTEND_TIMEOUT_MS = 500
"""How long LibreTranslate's page waits for somebody to stop typing."""


def confidence(found: tuple[str, float]) -> dict[str, Any]:
    return {"language": found[0], "confidence": round(100 * found[1], 2)}


def translates_files(settings: Settings) -> bool:
    """A link leads to whichever worker comes first: it has to have the file."""
    return settings.workers == 1 or settings.files_dir is not None


def about(entrance: Entrance, kinds: Sequence[str]) -> list[tuple[str, str, Handler]]:
    """Paths, their methods and handlers; `kinds` are those of files."""
    engine, settings = entrance.engine, entrance.engine.settings

    async def detected(request: Request) -> Response:
        with entrance.call(TASK, request) as call:
            said = fields_of(request, await call.body(), settings.max_json_depth)
            texts = texts_of(said)
            there = await assets_of(engine, model_of(said))
            ranking = (await ranked(["\n".join(texts)], there))[0]
            return JSONResponse([confidence(one) for one in ranking], headers=OPEN)

    async def languages(request: Request) -> Response:
        known = (await assets_of(engine)).directions
        listed = [
            {
                "code": code,
                "name": NAMES.get(code, code),
                "targets": sorted({b for b in known.languages if known.knows(code, b)} | {code}),
            }
            for code in known.languages
        ]
        return JSONResponse(listed, headers=OPEN)

    async def frontend(request: Request) -> Response:
        known = (await assets_of(engine)).directions.languages
        told = {
            "apiKeys": settings.keys_file is not None,
            "charLimit": MAX_TEXT_CHARS,
            "filesTranslation": translates_files(settings),
            "frontendTimeout": FRONTEND_TIMEOUT_MS,
            "keyRequired": settings.keys_file is not None,
            "language": {
                "source": {"code": AUTO, "name": "Auto Detect"},
                "target": {"code": known[0], "name": NAMES.get(known[0], known[0])},
            },
            "suggestions": False,
            "supportedFilesFormat": [*kinds] if translates_files(settings) else [],
        }
        return JSONResponse(told, headers=OPEN)

    async def health(request: Request) -> Response:
        return JSONResponse({"status": "ok"}, headers=OPEN)

    async def suggest(request: Request) -> Response:
        raise Forbidden("Suggestions are disabled on this server.")

    return [
        ("/detect", "POST", detected),
        ("/languages", "GET", languages),
        ("/frontend/settings", "GET", frontend),
        ("/suggest", "POST", suggest),
        ("/health", "GET", health),
    ]
