"""a WebSocket → a stream of speech: binary messages of samples in, JSON events out.

`/automatic-speech-recognition/live?rate_hz=16000&language=en`, `/audio-classification/live`. The
text message `{"type": "end"}` ends the stream; what goes wrong comes as an event of type `problem`
before the socket is closed.
"""

import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, suppress
from typing import Any

from pydantic import BaseModel
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from service.errors import ClientLeft, InvalidInput, MalformedRequest, Problem, UpgradeRequired
from service.gate import Gate
from service.http_call import SORRY, problem_response
from service.json_body import from_json
from service.live.streams import Engine, Streams
from service.telemetry import observed

SUFFIX = "/live"
END = {"type": "end"}
MAX_TEXT_BYTES = 1_024
CLOSED = {422: 1007, 400: 1007, 413: 1009, 429: 1013, 503: 1012}
"""HTTP status of a problem → what closes the socket (RFC 6455, 7.4.1); 1011 for all others."""


class LiveDoor:
    """Sockets at a task's route with `/live` behind it; everything else goes on to `otherwise`."""

    def __init__(self, engine: Engine, gate: Gate, otherwise: ASGIApp) -> None:
        self._streams = {
            f"/{task.name}{SUFFIX}": Streams(engine, gate, task.name)
            for task in engine.tasks.values()
            if task.live
        }
        self._otherwise = otherwise

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        streams = self._streams.get(scope.get("path", ""))
        if scope["type"] != "websocket":
            await (_plain if streams else self._otherwise)(scope, receive, send)
            return
        socket = WebSocket(scope, receive, send)
        if streams is None:
            await socket.close(1008, "there is no such path")
            return
        await socket.accept()
        with suppress(WebSocketDisconnect, RuntimeError):  # it has gone meanwhile
            await self._serve(socket, streams)

    async def _serve(self, socket: WebSocket, streams: Streams) -> None:
        problem = Problem(SORRY)
        try:
            with observed(streams.task, "http", socket.scope["headers"]):
                events = streams.listen(_asked(socket), _chunks(socket))
                await _tell(socket, events)
            await socket.close(1000)
            return
        except ClientLeft:
            return
        except Problem as error:
            problem = error
        except WebSocketDisconnect:
            raise
        except Exception:  # telemetry has logged it; the client learns no more than that
            pass
        body = json.loads(bytes(problem_response(problem, socket.url.path).body))
        await socket.send_json({**body, "type": "problem"})
        await socket.close(CLOSED.get(problem.status, 1011))


async def _plain(scope: Scope, receive: Receive, send: Send) -> None:
    response = problem_response(UpgradeRequired("ask for a WebSocket"), scope["path"])
    response.headers["upgrade"] = "websocket"
    await response(scope, receive, send)


async def _tell(socket: WebSocket, events: AsyncGenerator[BaseModel]) -> None:
    async with aclosing(events):
        async for event in events:
            await socket.send_text(event.model_dump_json())


def _asked(socket: WebSocket) -> dict[str, Any]:
    """The fields in the query."""
    fields: dict[str, Any] = dict(socket.query_params)
    if "rate_hz" in fields:
        if not fields["rate_hz"].isdigit() or len(fields["rate_hz"]) > 6:
            raise InvalidInput("is a number", "rate_hz")
        fields["rate_hz"] = int(fields["rate_hz"])
    return fields


async def _chunks(socket: WebSocket) -> AsyncIterator[bytes]:
    while True:
        message = await socket.receive()
        if message["type"] == "websocket.disconnect":
            raise ClientLeft("nobody listens")
        if message.get("bytes") is not None:
            yield message["bytes"]
            continue
        text = (message.get("text") or "").encode()
        try:
            if len(text) <= MAX_TEXT_BYTES and from_json(text, None) == END:
                return
        except ValueError:
            pass
        raise MalformedRequest('send samples as binary messages, or {"type": "end"}', "message")
