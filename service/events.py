"""partial texts and an answer → Server-Sent Events over ASGI.

https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from time import monotonic

from starlette.responses import Response
from starlette.types import Send

from service.errors import ClientLeft, NotAcceptable
from service.schema import Partial, ResponseModel
from service.tasks import Task

MEDIA_TYPE = "text/event-stream"
JSON_TYPES = {"application/json", "application/*", "*/*"}
HEARTBEAT_S = 5.0
"""After so long without an event comes a comment, for what stands between cuts silent ones off."""
SEND_S = 30.0
"""A client that reads nothing for so long counts as one that has left."""
HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),  # nginx would collect the events
]


def wanted(accept: str, task: Task) -> bool:
    """Whether this `Accept` asks for events; NotAcceptable if for what the task has not only."""
    names = {range_.partition(";")[0].strip() for range_ in accept.lower().split(",")}
    if MEDIA_TYPE not in names or task.generation:
        return MEDIA_TYPE in names
    if not names & JSON_TYPES:
        raise NotAcceptable(f"{task.name} has no events: accept application/json", "accept")
    return False


class EventStream:
    """The response to one request, from its first event on."""

    def __init__(self, send: Send) -> None:
        self.begun = False
        self._asgi = send
        self._left = False
        self._last_s = 0.0

    async def answer(self, stream: AsyncGenerator[Partial | ResponseModel]) -> ResponseModel:
        """Send the partial texts as they come; returns the answer, which follows them."""
        async with self.beating(), aclosing(stream):
            async for event in stream:
                if not isinstance(event, Partial):
                    return event
                await self.event(event.model_dump_json().encode(), "partial")
        raise AssertionError("a stream ends with its answer")

    async def end(self, response: Response) -> None:
        """Send what the response holds as the last event; one who has left is not told."""
        name = "answer" if response.status_code == 200 else "problem"
        with suppress(ClientLeft):
            await self.event(bytes(response.body), name, last=True)

    async def event(self, data: bytes, name: str = "", *, last: bool = False) -> None:
        """Send one event; raises ClientLeft where nobody reads it."""
        if not self.begun:
            self.begun = True
            start = {"type": "http.response.start", "status": 200, "headers": HEADERS}
            await self._asgi(start)
        head = b"event: %s\n" % name.encode() if name else b""
        await self._send(b"%sdata: %s\n\n" % (head, data), last=last)

    @asynccontextmanager
    async def beating(self) -> AsyncIterator[None]:
        """Around the work for the events: comments keep a silent connection open meanwhile."""
        heart = asyncio.create_task(self._beat())
        try:
            yield
        finally:
            heart.cancel()

    async def _beat(self) -> None:
        with suppress(ClientLeft):
            while True:
                await asyncio.sleep(HEARTBEAT_S)
                if self.begun and monotonic() - self._last_s >= HEARTBEAT_S:
                    await self._send(b":\n\n")

    async def _send(self, body: bytes, *, last: bool = False) -> None:
        if self._left:
            raise ClientLeft("nobody reads the events")
        self._last_s = monotonic()
        try:
            async with asyncio.timeout(SEND_S):
                await self._asgi(
                    {"type": "http.response.body", "body": body, "more_body": not last}
                )
        except TimeoutError as error:
            self._left = True
            raise ClientLeft("nobody reads the events") from error
