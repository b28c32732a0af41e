"""what comes of a transcription → the events of OpenAI's streams, sent as they come."""

import json
from contextlib import ExitStack, aclosing, suppress

from starlette.responses import Response as HttpResponse
from starlette.types import Receive, Scope, Send

from service.compat.openai.errors import shaped
from service.compat.openai.said import Said
from service.errors import ClientLeft, Problem
from service.events import EventStream
from service.http_call import SORRY, Call
from service.tasks.automatic_speech_recognition import Response

DONE = b"[DONE]"
"""What ends the SDK's iterator."""


def _data(event: str | Response) -> bytes:
    if isinstance(event, str):
        shape = {"type": "transcript.text.delta", "delta": event}
    else:
        shape = {"type": "transcript.text.done", "text": event.text}
    return json.dumps(shape, ensure_ascii=False).encode()


def _error(problem: Problem) -> bytes:
    return json.dumps({"error": shaped(problem)}, ensure_ascii=False).encode()


class Streamed(HttpResponse):
    """A stream whose first event is here; `inside` is left when the last has been sent."""

    def __init__(self, call: Call, first: str | Response, rest: Said, inside: ExitStack) -> None:
        super().__init__()
        self._call, self._first, self._rest, self._inside = call, first, rest, inside

    async def _send(self, stream: EventStream) -> None:
        async with stream.beating(), aclosing(self._rest):
            await stream.event(_data(self._first))
            async for event in self._rest:
                await stream.event(_data(event))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        stream, last = EventStream(send), DONE
        try:
            with self._inside:
                await self._call.work(self._send(stream))
        except Problem as problem:
            last = _error(problem)
        except Exception:  # telemetry has logged it
            last = _error(Problem(SORRY))
        with suppress(ClientLeft):
            await stream.event(last, last=True)
