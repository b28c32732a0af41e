"""HTTP application, uvicorn → the same, but at their end no connection is reset.

From the first sign of the end on, every response asks its client to connect anew, elsewhere: a
connection that nobody keeps is closed after its last response, so no request meets its close. What
clients keep none the less ends in steps.
"""

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send

CLOSE = (b"connection", b"close")
READ_S = 1.0
"""How long a client may take to send the rest of a request that is answered before its end."""
PART_S = 1.0
"""After nothing more is accepted: how long kept connections may still bring requests."""
LINGER_S = 0.3
"""How long clients get to see that their idle connections end, before these are closed."""
TURNS = 2
"""Of the event loop: in the first, all connections that wait are accepted."""
LOOK_S = 0.02


class Parting:
    """Around all routes: `parting` says whether the end has begun."""

    def __init__(self, app: ASGIApp, parting: Callable[[], bool]) -> None:
        self._app, self._parting = app, parting

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        whole = False

        async def read() -> Message:
            nonlocal whole
            message = await receive()
            whole = not message.get("more_body", False)
            return message

        async def close(message: Message) -> None:
            if message["type"] == "http.response.start" and self._parting():
                # What is left unread resets the connection, and the response with it.
                with suppress(TimeoutError):
                    async with asyncio.timeout(READ_S):
                        while not whole:
                            await read()
                message = {**message, "headers": [*message.get("headers", ()), CLOSE]}
            await send(message)

        await self._app(scope, read, close)


class Server(uvicorn.Server):
    """uvicorn, but its end resets no connection on which a request is on its way.

    uvicorn itself closes connections that it has only just accepted, and idle ones whose next
    request has left the client; what it has not read turns the close into a reset.
    """

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take what has come, refuse it in words, half close what is idle, then end."""
        for _ in range(TURNS):
            await asyncio.sleep(0)
        for listening in (*self.servers, *(sockets or ())):
            listening.close()
        connections: set[Any] = self.server_state.connections
        await _until(lambda: not connections, PART_S)
        idle = [one for one in connections if not one.cycle or one.cycle.response_complete]
        for one in idle:
            connections.discard(one)
            # Reads and drops what comes, and closes when the client does.
            one.transport.set_protocol(asyncio.Protocol())
            if one.transport.can_write_eof():
                one.transport.write_eof()
            else:  # TLS 1.2 knows no half-closed connection; its close says that it is one
                one.transport.close()
        await _until(lambda: all(one.transport.is_closing() for one in idle), LINGER_S)
        await super().shutdown(sockets)


async def _until(condition: Callable[[], bool], within_s: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(within_s):
            while not condition():
                await asyncio.sleep(LOOK_S)
