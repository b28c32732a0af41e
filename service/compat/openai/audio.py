"""OpenAI's audio API → the speech task: /v1/audio/transcriptions and translations, /v1/models.

https://platform.openai.com/docs/api-reference/audio
"""

from contextlib import ExitStack

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from service.compat.openai import form, models
from service.compat.openai.errors import refuse
from service.compat.openai.events import Streamed
from service.compat.openai.formats import shaped
from service.compat.openai.said import Said, said
from service.compat.surface import Entrance, Handler, route
from service.tasks.automatic_speech_recognition import Response as Answer

PREFIX = "/v1/"


async def _answer(events: Said) -> Answer:
    async for event in events:
        if isinstance(event, Answer):
            return event
    raise AssertionError("what is said ends with its answer")


def routes(entrance: Entrance) -> list[Route]:
    """The paths of the API."""
    engine, settings = entrance.engine, entrance.engine.settings
    limit_s = max(settings.timeout_s, settings.recording_timeout_s)

    def answering(kind: type[form.Translation]) -> Handler:
        async def answer(request: Request) -> Response:
            with ExitStack() as inside:
                call = inside.enter_context(entrance.call(models.TASK, request, limit_s))
                reading = form.read(request, kind, settings.max_recording_bytes)
                asked, recording = await call.read(reading)
                events = said(engine, models.found(engine, asked.model), asked, recording, call)
                if not asked.streamed:
                    return shaped(await call.work(_answer(events)), asked)
                first = await call.work(anext(events))
                return Streamed(call, first, events, inside.pop_all())

        return answer

    async def listed(request: Request) -> Response:
        data = [models.described(name) for name in models.names(engine)]
        return JSONResponse({"object": "list", "data": data})

    async def one(request: Request) -> Response:
        name = request.path_params["id"]
        models.found(engine, name)
        return JSONResponse(models.described(name))

    def at(path: str, method: str, handler: Handler) -> Route:
        return route(entrance, f"{PREFIX}{path}", {method: handler}, refuse)

    return [
        at("audio/transcriptions", "POST", answering(form.Transcription)),
        at("audio/translations", "POST", answering(form.Translation)),
        at("models", "GET", listed),
        at("models/{id:path}", "GET", one),
    ]
