"""a request, a door → what came back, sorted into the few kinds that matter."""

import asyncio
import json
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from enum import StrEnum
from types import TracebackType
from typing import Any, Self

import aiohttp
import grpc
from google.protobuf.json_format import MessageToDict

from loadtests.door import Door
from loadtests.scenarios import Scenario

PROBLEM = "application/problem+json"
TIMEOUT_S = 60.0
KEEP_ALIVE_S = 3.0
"""Less than the 5 s after which uvicorn closes an idle connection."""
Code = grpc.StatusCode


class Kind(StrEnum):
    """What became of a request."""

    ANSWERED = "answered"
    INVALID = "invalid"
    """Refused for what it asks: 4xx, INVALID_ARGUMENT and their like."""
    REFUSED = "refused"
    """Refused for now, in the service's words: 429 and 503, RESOURCE_EXHAUSTED and UNAVAILABLE."""
    EXPIRED = "expired"
    UNREACHABLE = "unreachable"
    """Nobody listens: the request has not left."""
    LOST = "lost"
    """The connection ended, or nothing came, after the request had left."""
    FAILED = "failed"
    """Any other 5xx or code, or a refusal that is not problem+json."""


@dataclass(frozen=True)
class Reply:
    kind: Kind
    answer: Any = None
    """As JSON has it; None unless answered."""
    detail: str = ""


CODES: Mapping[Code, Kind] = {
    Code.INVALID_ARGUMENT: Kind.INVALID,
    Code.UNIMPLEMENTED: Kind.INVALID,
    Code.RESOURCE_EXHAUSTED: Kind.REFUSED,
    Code.UNAVAILABLE: Kind.REFUSED,
    Code.DEADLINE_EXCEEDED: Kind.EXPIRED,
    Code.CANCELLED: Kind.LOST,
}
UNSENT = ("failed to connect to all addresses", "Connection refused")
CUT_OFF = ("Socket closed", "Connection reset", "Broken pipe", "GOAWAY received", "recvmsg")


def of_http(status: int, content_type: str, body: bytes) -> Reply:
    """Sort a response by its status; refusals have to be problem+json."""
    detail = f"{status} {body[:300].decode(errors='replace')}"
    if status == 200:
        return Reply(Kind.ANSWERED, json.loads(body))
    if content_type != PROBLEM:
        return Reply(Kind.FAILED, detail=f"{content_type}: {detail}")
    if status in (429, 503):
        return Reply(Kind.REFUSED, detail=detail)
    if status == 504:
        return Reply(Kind.EXPIRED, detail=detail)
    return Reply(Kind.INVALID if 400 <= status < 500 else Kind.FAILED, detail=detail)


def of_grpc(code: Code, details: str) -> Reply:
    """Sort a call by its code; UNAVAILABLE is also what gRPC says of a connection."""
    kind = CODES.get(code, Kind.FAILED)
    if code == Code.UNAVAILABLE and any(words in details for words in UNSENT):
        kind = Kind.UNREACHABLE
    elif code == Code.UNAVAILABLE and any(words in details for words in CUT_OFF):
        kind = Kind.LOST
    return Reply(kind, detail=f"{code.name} {details}")


HTTP_FAULTS = (aiohttp.ClientError, TimeoutError, OSError, ValueError)


def of_fault(error: Exception) -> Reply:
    """Sort what `HTTP_FAULTS` has: an exception instead of a response."""
    connected = not isinstance(error, aiohttp.ClientConnectorError)
    return Reply(Kind.LOST if connected else Kind.UNREACHABLE, detail=repr(error))


class Caller:
    """Connections to both doors, as many as there are requests under way."""

    def __init__(self, url: str, grpc_address: str = "", *, fresh: bool = False) -> None:
        """`fresh` opens a connection for each HTTP request."""
        self.url = url
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
        connector = (
            aiohttp.TCPConnector(limit=0, force_close=True)
            if fresh
            else aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEP_ALIVE_S)
        )
        self.session = aiohttp.ClientSession(connector=connector, timeout=timeout)
        # A channel connects with its first call, so a server without that door needs none.
        self.channel = grpc.aio.insecure_channel(
            grpc_address or "127.0.0.1:1",
            [("grpc.use_local_subchannel_pool", 1), ("grpc.max_reconnect_backoff_ms", 200)],
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        await self.session.close()
        await self.channel.close()

    def post(
        self, one: Scenario, headers: Mapping[str, str] | None = None
    ) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        told = {"Content-Type": one.content_type, **(headers or {})}
        return self.session.post(self.url + one.path, data=one.body, headers=told)

    async def rest(self, one: Scenario, headers: Mapping[str, str] | None = None) -> Reply:
        try:
            async with self.post(one, headers) as got:
                return of_http(got.status, got.content_type, await got.read())
        except HTTP_FAULTS as error:
            return of_fault(error)

    async def grpc(self, one: Scenario, timeout_s: float = TIMEOUT_S) -> Reply:
        method: Any = self.channel.unary_unary(
            one.method, response_deserializer=one.reply.FromString
        )
        try:
            message = await method(one.message, timeout=timeout_s)
        except grpc.aio.AioRpcError as error:
            return of_grpc(error.code(), error.details() or "")
        return Reply(
            Kind.ANSWERED, MessageToDict(message, always_print_fields_with_no_presence=True)
        )

    async def ask(self, door: Door, one: Scenario) -> Reply:
        return await (self.rest(one) if door is Door.REST else self.grpc(one))

    async def text(self, path: str) -> str:
        """What a GET gives."""
        async with self.session.get(self.url + path) as got:
            return await got.text()

    async def states(self) -> dict[str, str]:
        """Task → `ready`, or why it is not served."""
        return dict(json.loads(await self.text("/status"))["tasks"])


async def until(condition: Any, limit_s: float, pause_s: float = 0.1) -> float | None:
    """Await a condition again and again; returns the seconds it took, None if it never held."""
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    while loop.time() - began_s < limit_s:
        if await condition():
            return loop.time() - began_s
        await asyncio.sleep(pause_s)
    return None
