"""ports, a script → a server whose delays and stalls are known: what a generator is held against.

Both doors answer every call alike, with fixed bytes, after a delay; while the server is frozen,
nothing is answered. It does nothing else, so that one core can carry thousands of calls a second.
"""

import asyncio
import sys
from random import Random
from time import perf_counter
from typing import Any, cast

import grpc
import uvloop
from pydantic import BaseModel, ConfigDict

from service.pb import attendant_pb2

NONSENSE = '{"translations": [{"text": "nonsense"}]}'


class Script(BaseModel):
    """How the server behaves."""

    model_config = ConfigDict(extra="forbid")

    http_port: int
    grpc_port: int = 0
    delay_s: float = 0.0
    spread_s: float = 0.0
    """Mean of an exponential time that comes on top of the delay."""
    freeze_every_s: float = 0.0
    """The first freeze begins after so long; 0 for none."""
    freeze_s: float = 0.0
    freezes_from: int = 0
    """The call with which their clock starts."""
    serial_s: float = 0.0
    """What each call takes of the one processor that all share; 0 where none waits for another."""
    status: int = 200
    body: str = '{"translations": [{"text": "Bücher", "score": 0, "tokens": 1}]}'
    fails_after: int = -1
    """From this call on all are answered with 500 over HTTP; -1 for none."""
    wrong_after: int = -1
    """From this call on all are answered with nonsense over HTTP; -1 for none."""


class Clock:
    """When an answer to a call that comes now may leave."""

    def __init__(self, script: Script) -> None:
        self._script, self._random = script, Random(0)
        self._began_s = self._free_s = 0.0
        self.calls = 0

    def wait_s(self) -> float:
        """Seconds until the answer is due."""
        script, now_s = self._script, perf_counter()
        if self.calls <= script.freezes_from:
            self._began_s = now_s
        self.calls += 1
        spread_s = self._random.expovariate(1 / script.spread_s) if script.spread_s else 0.0
        self._free_s = max(self._free_s, now_s) + script.serial_s
        done_s = self._free_s - self._began_s + script.delay_s + spread_s
        return self._began_s + thawed_s(done_s, script) - now_s


def thawed_s(moment_s: float, script: Script) -> float:
    """The first moment from this one on at which the server is not frozen."""
    if script.freeze_every_s:
        into_s = moment_s % script.freeze_every_s
        if moment_s >= script.freeze_every_s and into_s < script.freeze_s:
            return moment_s - into_s + script.freeze_s
    return moment_s


class Http(asyncio.Protocol):
    """One connection; requests on it come one after the other."""

    def __init__(self, clock: Clock, script: Script) -> None:
        self._clock, self._script, self._buffer = clock, script, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's has no such base

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, found, body = self._buffer.partition(b"\r\n\r\n")
        length = head.lower().partition(b"content-length:")[2].split(b"\r\n")[0]
        if not found or len(body) < int(length or 0):
            return
        self._buffer = b""
        if head.startswith(b"GET"):
            self._transport.write(response(404, ""))
            return
        wait_s = self._clock.wait_s()
        script, calls = self._script, self._clock.calls
        status = 500 if 0 <= script.fails_after < calls else script.status
        answer = response(status, NONSENSE if 0 <= script.wrong_after < calls else script.body)
        if wait_s <= 0:
            self._send(answer)
        else:
            asyncio.get_running_loop().call_later(wait_s, self._send, answer)

    def _send(self, answer: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(answer)


def response(status: int, body: str) -> bytes:
    content = body.encode()
    head = f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content


class Grpc(grpc.GenericRpcHandler):
    """Any method; the answer is that of Translate."""

    def __init__(self, clock: Clock) -> None:
        translation = attendant_pb2.TranslateResponse.Translation(text="Bücher", tokens=1)
        answer = attendant_pb2.TranslateResponse(translations=[translation])
        content = answer.SerializeToString()

        async def answered(_request: bytes, _context: Any) -> bytes:
            if (wait_s := clock.wait_s()) > 0:
                await asyncio.sleep(wait_s)
            return content

        self._handler: Any = grpc.unary_unary_rpc_method_handler(answered)

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        del handler_call_details
        return self._handler


async def serve(script: Script) -> None:
    loop = asyncio.get_running_loop()
    clock = Clock(script)
    await loop.create_server(
        lambda: Http(clock, script), "127.0.0.1", script.http_port, backlog=4_096
    )
    if script.grpc_port:
        server = grpc.aio.server()
        server.add_generic_rpc_handlers((Grpc(clock),))
        server.add_insecure_port(f"127.0.0.1:{script.grpc_port}")
        await server.start()
    print("ready", flush=True)
    await loop.create_future()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(Script.model_validate_json(sys.argv[1])))
