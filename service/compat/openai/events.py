"""what comes of a transcription → the events of OpenAI's streams, sent as they come."""

import json
from collections.abc import AsyncGenerator
from contextlib import ExitStack, aclosing, suppress
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from service.compat.openai.errors import shaped
from service.errors import ClientLeft, Problem
from service.events import EventStream
from service.http_call import SORRY, Call

Event = dict[str, Any]
DONE = b"[DONE]"
"""What ends the SDK's iterator."""


def delta(text: str) -> Event:
    return {"type": "transcript.text.delta", "delta": text}


def done(text: str, **members: Any) -> Event:
    return {"type": "transcript.text.done", "text": text, **members}


def _data(event: Event) -> bytes:
    return json.dumps(event, ensure_ascii=False).encode()


class Streamed(Response):
    """A stream whose first event is here; `inside` is left when the last has been sent."""

    def __init__(
        self, call: Call, first: Event, rest: AsyncGenerator[Event, None], inside: ExitStack
    ) -> None:
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
            last = _data({"error": shaped(problem)})
        except Exception:  # telemetry has logged it
            last = _data({"error": shaped(Problem(SORRY))})
        with suppress(ClientLeft):
            await stream.event(last, last=True)
