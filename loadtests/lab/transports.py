"""a call → the bytes that came back, or what became of it: HTTP, or gRPC by grpc.aio."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import grpc

from loadtests.lab.http_client import Heard, HttpClient, Lost, NotConnected
from loadtests.lab.plan import Call
from loadtests.results import Fault
from loadtests.serving.calls import KEEP_ALIVE_S, of_grpc

CHANNELS = 2
"""Of gRPC: one connection is read by one thread of the server."""
MAX_MESSAGE_BYTES = 64 * 2**20


@dataclass(frozen=True)
class Got:
    """What came of one call."""

    content: bytes = b""
    fault: Fault | None = None
    detail: str = ""


class Transport(Protocol):
    """Connections to one address."""

    async def ask(self, call: Call, heard: Heard | None) -> Got: ...

    async def close(self) -> None: ...


def fault_of(status: int) -> Fault | None:
    """What an HTTP status means; None for an answer."""
    if status == 200:
        return None
    if status in (429, 503):
        return Fault.REFUSED
    if status in (408, 504):
        return Fault.EXPIRED
    return Fault.INVALID if 400 <= status < 500 else Fault.FAILED


class Http:
    """As many connections as there are requests under way."""

    def __init__(self, address: str, timeout_s: float) -> None:
        self._client = HttpClient(address, keep_s=KEEP_ALIVE_S)
        self._timeout_s = timeout_s
        self._requests: dict[tuple[str, int], bytes] = {}
        """Task and payload → what is sent, as it goes over the wire."""

    def _request(self, call: Call) -> bytes:
        key = call.task, call.payload
        if key not in self._requests:
            self._requests[key] = self._client.request(call.target, call.headers, call.body)
        return self._requests[key]

    async def ask(self, call: Call, heard: Heard | None) -> Got:
        try:
            async with asyncio.timeout(self._timeout_s):
                status, content = await self._client.ask(self._request(call), heard)
        except NotConnected as error:
            return Got(fault=Fault.UNREACHABLE, detail=str(error))
        except TimeoutError:
            return Got(fault=Fault.EXPIRED, detail="no answer in time")
        except Lost as error:
            return Got(fault=Fault.LOST, detail=str(error))
        fault = fault_of(status)
        if fault is None:
            return Got(content)
        return Got(fault=fault, detail=f"{status} {content[:300].decode(errors='replace')}")

    async def close(self) -> None:
        await self._client.close()


class Grpc:
    """A few connections, which all calls share."""

    def __init__(self, address: str, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        options = [
            ("grpc.use_local_subchannel_pool", 1),
            ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
            ("grpc.max_reconnect_backoff_ms", 1_000),
        ]
        self._channels = [grpc.aio.insecure_channel(address, options) for _ in range(CHANNELS)]
        self._methods: dict[tuple[str, bool], list[Any]] = {}
        self._turn = 0

    def _method(self, name: str, streamed: bool) -> Any:
        made = self._methods.get((name, streamed))
        if made is None:
            made = [
                channel.unary_stream(name) if streamed else channel.unary_unary(name)
                for channel in self._channels
            ]
            self._methods[name, streamed] = made
        self._turn = (self._turn + 1) % len(made)
        return made[self._turn]

    async def ask(self, call: Call, heard: Heard | None) -> Got:
        method = self._method(call.target, heard is not None)
        metadata = tuple(call.headers.items()) or None
        try:
            if heard is None:
                return Got(await method(call.body, timeout=self._timeout_s, metadata=metadata))
            content = b""
            async for content in method(call.body, timeout=self._timeout_s, metadata=metadata):
                heard(content)
            return Got(content)
        except grpc.aio.AioRpcError as error:
            reply = of_grpc(error.code(), error.details() or "")
            return Got(fault=Fault(reply.kind), detail=reply.detail)

    async def close(self) -> None:
        for channel in self._channels:
            await channel.close()


TRANSPORTS: Mapping[str, Callable[[str, float], Transport]] = {"http": Http, "grpc": Grpc}
