"""gRPC calls that Ray Serve's proxy takes → the methods of our own gRPC door, in a replica.

The proxy hands messages on as the bytes that came, so that neither it nor the replica reads them
twice. What it does not know of a call is not there: how long the client waits.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf.descriptor import MethodDescriptor

from service.compat.oip.rpc import SERVICE as OPEN_INFERENCE
from service.rpc import SERVICE

METHODS: list[MethodDescriptor] = [*SERVICE.methods, *OPEN_INFERENCE.methods]
LOST = ("ActorDiedError", "ActorUnavailableError", "actor died", "is unavailable: The actor")
"""What stands in what Ray says of a replica that went away with a call."""
AGAIN_MS = 1_000
"""When such a call may be made again."""


def full_name(method: MethodDescriptor) -> str:
    return f"/{method.containing_service.full_name}/{method.name}"


class Ended(Exception):
    """A call was ended with a status."""


@dataclass
class Reply:
    """A message that has been serialised already."""

    message: bytes = b""

    def SerializeToString(self) -> bytes:
        return self.message


class Call:
    """What our methods ask of a call, over what Ray Serve tells of it."""

    def __init__(self, given: Any) -> None:
        self._given = given
        self._on_end: list[Callable[[Any], None]] = []
        self.written: asyncio.Queue[bytes | None] = asyncio.Queue(maxsize=1)

    def invocation_metadata(self) -> list[tuple[str, str]]:
        return list(self._given.invocation_metadata())

    def time_remaining(self) -> float | None:
        return None

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        self._on_end.append(callback)

    async def write(self, message: bytes) -> None:
        await self.written.put(message)

    async def abort(
        self, code: grpc.StatusCode, details: str, trailing: tuple[tuple[str, str], ...] = ()
    ) -> None:
        self._given.set_code(code)
        self._given.set_details(details)
        self._given.set_trailing_metadata(list(trailing))
        raise Ended

    def end(self) -> None:
        for callback in self._on_end:
            callback(self)


async def answered(handler: Any, request: Any, given: Any) -> Reply:
    """The one reply of a method; empty where it ended with a status, which `given` then has."""
    call = Call(given)
    try:
        return Reply(await handler.unary_unary(request, call))
    except Ended:
        return Reply()
    finally:
        call.end()


async def streamed(handler: Any, request: Any, given: Any) -> AsyncIterator[Reply]:
    """The replies of a method that writes them one by one."""
    call = Call(given)

    async def work() -> None:
        method = handler.stream_stream or handler.unary_stream
        try:
            with suppress(Ended):
                await method(request, call)
        finally:
            await call.written.put(None)

    working = asyncio.create_task(work())
    try:
        while (message := await call.written.get()) is not None:
            yield Reply(message)
        await working
    finally:
        working.cancel()
        call.end()


def handled(method: MethodDescriptor) -> Callable[..., Any]:
    """The method of a replica that Ray Serve calls for one of ours, by its name."""
    name = full_name(method)

    async def unary(self: Any, request: Any, grpc_context: Any) -> Reply:
        return await answered(await self.rpc(name, grpc_context), request, grpc_context)

    async def stream(self: Any, request: Any, grpc_context: Any) -> AsyncIterator[Reply]:
        handler = await self.rpc(name, grpc_context)
        async for reply in streamed(handler, request, grpc_context):
            yield reply

    return stream if method.server_streaming else unary


def _unused(*_: Any) -> None:
    raise AssertionError("the proxy puts its own in this place")


def _corrected(context: Any) -> None:
    """Ray Serve calls a lost replica INTERNAL; clients try UNAVAILABLE again."""
    internal = context.code() in (grpc.StatusCode.INTERNAL, grpc.StatusCode.INTERNAL.value[0])
    if internal and any(mark in (context.details() or "") for mark in LOST):
        context.set_code(grpc.StatusCode.UNAVAILABLE)
        context.set_details("the replica that worked on this was lost; try again")
        trailing = tuple(context.trailing_metadata() or ())
        context.set_trailing_metadata((*trailing, ("grpc-retry-pushback-ms", str(AGAIN_MS))))


class _Proxied(type(grpc.unary_unary_rpc_method_handler(_unused))):  # type: ignore[misc]
    """A method into which the proxy puts its own handlers; it corrects what they end with."""

    def _replace(self, **made: Any) -> Any:
        def unary(handler: Any) -> Any:
            async def call(request: Any, context: Any) -> Any:
                reply = await handler(request, context)
                _corrected(context)
                return reply

            return call

        def stream(handler: Any) -> Any:
            async def call(request: Any, context: Any) -> AsyncIterator[Any]:
                async for reply in handler(request, context):
                    yield reply
                _corrected(context)

            return call

        for name, wrap in (
            ("unary_unary", unary), ("unary_stream", stream), ("stream_stream", stream)
        ):  # fmt: skip
            made[name] = wrap(made[name])
        return super()._replace(**made)


def add_to_server(_: Any, server: Any) -> None:
    """Every method of our services, for `grpc_servicer_functions`."""
    kinds: dict[tuple[bool, bool], Any] = {
        (False, False): grpc.unary_unary_rpc_method_handler,
        (False, True): grpc.unary_stream_rpc_method_handler,
        (True, True): grpc.stream_stream_rpc_method_handler,
    }
    for service in (SERVICE, OPEN_INFERENCE):
        methods: dict[str, Any] = {}
        for method in service.methods:
            kind = kinds[method.client_streaming, method.server_streaming]
            methods[method.name] = _Proxied(*kind(_unused))
        handler = grpc.method_handlers_generic_handler(service.full_name, methods)
        server.add_generic_rpc_handlers((handler,))
