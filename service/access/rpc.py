"""gRPC calls → those whose key allows them: `authorization: Bearer KEY` or `api_key: KEY`."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc

from service.access import ADMIN, Scope, granted
from service.access.keys import FIELD, Keys
from service.errors import Problem

OPEN = {"ServerLive", "ServerReady", "ServerMetadata"}
OPEN_SERVICES = ("/grpc.health.", "/grpc.reflection.")
ADMIN_METHODS = {"RepositoryIndex", "RepositoryModelLoad", "RepositoryModelUnload"}
READING = {"ModelReady", "ModelMetadata", "ModelConfig", "ModelStatistics", *ADMIN_METHODS}
"""What is no work for a model, and not counted."""
COUNTED_BY_MESSAGE = {"ModelStreamInfer"}
"""Each message of the stream is a request."""
HEADERS = (FIELD, "x-api-key")

Refuse = Callable[[Any, Problem], Awaitable[Any]]


def needed(method: str) -> Scope | None:
    """The scope that `/package.Service/Method` asks for; None where everybody may."""
    name = method.rpartition("/")[2]
    if method.startswith(OPEN_SERVICES) or name in OPEN:
        return None
    return ADMIN if name in ADMIN_METHODS else "infer"


def _presented(metadata: Any) -> str | None:
    said = dict(metadata or ())
    kind, _, key = str(said.get("authorization", "")).partition(" ")
    found = key.strip() if kind.lower() == "bearer" else None
    return found or next((str(said[name]) for name in HEADERS if name in said), None)


class KeyInterceptor(grpc.aio.ServerInterceptor):  # type: ignore[misc,unused-ignore]
    """Around all methods of a door that asks for keys."""

    def __init__(self, keys: Keys, refuse: Refuse) -> None:
        self._keys, self._refuse = keys, refuse

    async def intercept_service(self, continuation: Any, details: Any) -> Any:
        handler = await continuation(details)
        wanted, name = needed(details.method), details.method.rpartition("/")[2]
        if handler is None or wanted is None:
            return handler
        presented = _presented(details.invocation_metadata)
        by_message = name in COUNTED_BY_MESSAGE

        async def counted(messages: AsyncIterator[Any]) -> AsyncIterator[Any]:
            async for message in messages:
                self._keys.admit(presented, wanted)  # the method tells of the problem
                yield message

        async def call(asked: Any, context: Any) -> Any:
            once = name not in READING and not by_message
            try:
                key = self._keys.admit(presented, wanted, counted=once)
            except Problem as problem:
                return await self._refuse(context, problem)
            granted.set(key.scopes)
            return await inner(counted(asked) if by_message else asked, context)

        kinds = {
            (False, False): ("unary_unary", grpc.unary_unary_rpc_method_handler),
            (False, True): ("unary_stream", grpc.unary_stream_rpc_method_handler),
            (True, True): ("stream_stream", grpc.stream_stream_rpc_method_handler),
        }
        attribute, wrapped = kinds[handler.request_streaming, handler.response_streaming]
        inner = getattr(handler, attribute)
        return wrapped(call, handler.request_deserializer, handler.response_serializer)
