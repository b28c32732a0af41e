"""a port, callers and seconds → how long each answer took, in a closed loop that costs little."""

import asyncio
import json
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

import grpc
from google.protobuf.message_factory import GetMessageClass

from loadtests.serving.doors import noop

CHANNELS = 4
"""One would be a single connection, which a single thread of the server reads."""


class WrongAnswer(Exception):
    """A server did not give back what it was sent."""


@dataclass
class Load:
    """What callers saw in a time."""

    seconds: float
    latencies_s: list[float] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Answers per second."""
        return len(self.latencies_s) / self.seconds

    def percentile_ms(self, share: float) -> float:
        ordered = sorted(self.latencies_s)
        return ordered[int(share * (len(ordered) - 1))] * 1e3


class _HttpCaller(asyncio.Protocol):
    """One connection that asks again as soon as it is answered."""

    def __init__(self, request: bytes, expected: bytes, load: Load) -> None:
        self._request, self._expected, self._load = request, expected, load
        self._answer = b""
        self.over = False
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._ask()

    def _ask(self) -> None:
        self._began_s = perf_counter()
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._answer += data
        head, found, body = self._answer.partition(b"\r\n\r\n")
        if not found or len(body) < int(head.lower().split(b"content-length:")[1].split()[0]):
            return
        if b" 200 " not in head[:16] or self._expected not in body:
            self.lost.set_exception(WrongAnswer(self._answer[:200].decode(errors="replace")))
            self._transport.close()
            return
        self._load.latencies_s.append(perf_counter() - self._began_s)
        self._answer = b""
        if self.over:
            self._transport.close()
        else:
            self._ask()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.lost.done():
            self.lost.set_exception(error) if error else self.lost.set_result(None)


def post(path: str, body: bytes, *headers: str) -> bytes:
    """A whole request."""
    head = [f"POST {path} HTTP/1.1", "Host: a", *headers, f"Content-Length: {len(body)}"]
    return "\r\n".join([*head, "", ""]).encode() + body


async def http(port: int, *, callers: int, seconds: float) -> Load:
    """Callers of the REST route, each with a connection of its own."""
    body = json.dumps({"text": noop.TEXT}).encode()
    request = post("/echo", body, "Content-Type: application/json")
    return await http_load(port, request, noop.TEXT.encode(), callers=callers, seconds=seconds)


async def http_load(
    port: int, request: bytes, expected: bytes, *, callers: int, seconds: float
) -> Load:
    """Callers of one request, whose answer holds what is expected."""
    load = Load(seconds)
    loop = asyncio.get_running_loop()

    def caller() -> _HttpCaller:
        return _HttpCaller(request, expected, load)

    opened = [await loop.create_connection(caller, "127.0.0.1", port) for _ in range(callers)]
    await asyncio.sleep(seconds)
    for _, each in opened:
        each.over = True
    await asyncio.wait_for(asyncio.gather(*(each.lost for _, each in opened)), 30)
    return load


async def rpc(port: int, *, callers: int, seconds: float) -> Load:
    """Callers of the gRPC method, over a few connections."""
    method = noop.service().methods_by_name["Echo"]
    raw = GetMessageClass(method.input_type)(text=noop.TEXT).SerializeToString()
    path = f"/{method.containing_service.full_name}/{method.name}"
    return await rpc_load(port, path, raw, noop.TEXT.encode(), callers=callers, seconds=seconds)


async def rpc_load(
    port: int, path: str, raw: bytes, expected: bytes, *, callers: int, seconds: float
) -> Load:
    """Callers of one method with one message, whose answer holds what is expected."""
    load = Load(seconds)
    options = [("grpc.use_local_subchannel_pool", 1)]
    channels = [
        grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=options) for _ in range(CHANNELS)
    ]
    ends_s = perf_counter() + seconds

    async def caller(channel: grpc.aio.Channel) -> None:
        ask: Any = channel.unary_unary(path)
        while (began_s := perf_counter()) < ends_s:
            answer: bytes = await ask(raw)
            if expected not in answer:
                raise WrongAnswer(str(answer[:200]))
            load.latencies_s.append(perf_counter() - began_s)

    await asyncio.gather(*(caller(channels[i % CHANNELS]) for i in range(callers)))
    for channel in channels:
        await channel.close()
    return load
