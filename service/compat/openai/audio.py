"""OpenAI's audio API → the speech task: /v1/audio/transcriptions and translations, /v1/models.

https://platform.openai.com/docs/api-reference/audio
"""

from collections.abc import AsyncGenerator
from contextlib import ExitStack
from typing import Any

from pydantic import ValidationError
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from service.compat.openai import form, models
from service.compat.openai.errors import refuse
from service.compat.openai.events import Event, Streamed, delta, done
from service.compat.openai.formats import shaped
from service.compat.surface import Entrance, Handler, route
from service.errors import refusal
from service.http_call import Call
from service.schema import Partial
from service.tasks.automatic_speech_recognition import Request


def routes(entrance: Entrance) -> list[Route]:
    """The paths of the API."""
    engine = entrance.engine

    def asked_of(said: form.Translation, recording: bytes) -> Request:
        """The task's request; raises a Problem that names the field."""
        models.known(engine, said.model)
        try:
            return Request(audio=recording, **said.fields())
        except ValidationError as error:
            raise refusal(error) from error

    async def events(asked: Request, call: Call) -> AsyncGenerator[Event, None]:
        certain = True  # what is taken back cannot be unsaid: the whole text at the end has it
        async for part in engine.stream(models.TASK, asked, **call.asked()):
            if isinstance(part, Partial):
                certain = certain and not part.replaces
                if certain:
                    yield delta(part.text)
            else:
                answer: Any = part
                yield done(answer.text)

    def answering(kind: type[form.Translation]) -> Handler:
        async def answer(request: HttpRequest) -> Response:
            with ExitStack() as inside:
                call = inside.enter_context(entrance.call(models.TASK, request))
                reading = form.read(request, kind, engine.settings.max_body_bytes)
                said, recording = await call.read(reading)
                asked = asked_of(said, recording)
                if isinstance(said, form.Transcription) and said.stream:
                    stream = events(asked, call)
                    first = await call.work(anext(stream))
                    return Streamed(call, first, stream, inside.pop_all())
                answer: Any = await call.work(engine.answer(models.TASK, asked, **call.asked()))
                return shaped(answer, said)

        return answer

    async def listed(request: HttpRequest) -> Response:
        data = [models.described(name) for name in models.names(engine)]
        return JSONResponse({"object": "list", "data": data})

    async def one(request: HttpRequest) -> Response:
        name = request.path_params["id"]
        models.known(engine, name)
        return JSONResponse(models.described(name))

    def at(path: str, method: str, handler: Handler) -> Route:
        return route(entrance, f"/v1/{path}", {method: handler}, refuse)

    return [
        at("audio/transcriptions", "POST", answering(form.Transcription)),
        at("audio/translations", "POST", answering(form.Translation)),
        at("models", "GET", listed),
        at("models/{id:path}", "GET", one),
    ]
