"""gRPC calls → the engine's answers: one or two methods per task, with health and reflection."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Protocol

import grpc
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from pydantic import ValidationError

from service import headers, telemetry
from service.access.keys import Keys
from service.access.rpc import KeyInterceptor
from service.errors import MalformedRequest, Overloaded, Problem, refusal
from service.gate import Gate
from service.listing import ListModelsRequest, ListModelsResponse
from service.live.rpc import opened
from service.live.streams import Streams
from service.loaded import Loaded
from service.pb import attendant_pb2
from service.pb.convert import to_event, to_message, to_values
from service.pb.proto import LIST, LIVE, STREAM
from service.refusals import Refusals
from service.schema import Partial, RequestModel, ResponseModel, Timings
from service.served import Served
from service.settings import Settings
from service.tasks import Item, Row, Task

WATCH_INTERVAL_S = 0.1
"""How late a health watcher may hear of a change."""
REFUSE_S = 0.1
"""For at least so long a stop tells callers in words that it goes on."""
FLUSH_S = 0.5
"""What the last replies, and streams such as health watchers, have to end by themselves."""
CONNECTION_AGE_MS = 300_000
"""Where workers share a port, clients reconnect this often and so spread over the workers."""

SERVICE = attendant_pb2.DESCRIPTOR.services_by_name["Attendant"]


class Engine(Protocol):
    """What this door needs of the engine."""

    @property
    def tasks(self) -> Mapping[str, Task]: ...

    @property
    def settings(self) -> Settings: ...

    @property
    def refusals(self) -> Refusals: ...

    async def answer(
        self,
        task: str,
        request: RequestModel,
        *,
        timeout_s: float | None = None,
        priority: int = 0,
    ) -> ResponseModel: ...

    def stream(
        self,
        task: str,
        request: RequestModel,
        *,
        timeout_s: float | None = None,
        priority: int = 0,
    ) -> AsyncGenerator[Partial | ResponseModel]: ...

    def find(self, task: str, asked: str = "") -> Served: ...

    async def opened(self, model: Served) -> Loaded: ...

    async def rows(
        self,
        model: Served,
        items: Sequence[Item],
    ) -> tuple[list[Row], str, Timings]: ...

    def ready(self) -> bool: ...

    def listing(self) -> ListModelsResponse: ...


class Health(health_pb2_grpc.HealthServicer):
    """grpc.health.v1, answered from `serving` at the time of asking.

    grpcio-health-checking 1.81's own servicer forgets the other watchers of a service when one of
    them leaves, and so never tells them of a drain.
    """

    def __init__(self, services: tuple[str, ...], serving: Callable[[], bool]) -> None:
        self._services = services
        self._serving = serving

    def _response(self, service: str) -> health_pb2.HealthCheckResponse:
        response = health_pb2.HealthCheckResponse
        if service not in self._services:
            return response(status=response.SERVICE_UNKNOWN)
        return response(status=response.SERVING if self._serving() else response.NOT_SERVING)

    async def Check(self, request: Any, context: Any) -> health_pb2.HealthCheckResponse:
        if request.service not in self._services:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"no service {request.service}")
        return self._response(request.service)

    async def Watch(
        self,
        request: Any,
        context: Any,  # noqa: ARG002
    ) -> AsyncIterator[health_pb2.HealthCheckResponse]:
        told = None
        while True:
            response = self._response(request.service)
            if response != told:
                yield response
            told = response
            await asyncio.sleep(WATCH_INTERVAL_S)


def _decoded(wire: type[Message], raw: bytes) -> dict[str, Any]:
    try:
        return to_values(wire.FromString(raw))
    except DecodeError as error:
        raise MalformedRequest(f"the message is not a {wire.DESCRIPTOR.name}") from error


def _parse(task: Task, wire: type[Message], raw: bytes) -> RequestModel:
    try:
        return task.request.model_validate(_decoded(wire, raw))
    except ValidationError as error:
        raise refusal(error) from error


def priority(context: Any) -> int:
    said = (value for name, value in context.invocation_metadata() if name == headers.PRIORITY)
    return headers.priority(next(said, None))


def _when_to_retry(problem: Problem) -> tuple[tuple[str, str], ...]:
    """Trailing metadata: seconds as HTTP has them, and what gRPC's own retries obey.

    https://github.com/grpc/proposal/blob/master/A6-client-retries.md#pushback
    """
    wait_s = problem.retry_after()
    if wait_s is None:
        return ()
    return (("retry-after", str(wait_s)), ("grpc-retry-pushback-ms", str(wait_s * 1000)))


async def refuse(context: Any, problem: Problem) -> Any:
    """End a call with the status of a problem."""
    return await context.abort(problem.code, str(problem), _when_to_retry(problem))


@dataclass(frozen=True)
class Also:
    """A further service behind the same gate: its full name and its methods."""

    name: str
    methods: dict[str, "grpc.RpcMethodHandler[Any, Any]"]


class RpcServer:
    """The gRPC door. Made before the event loop runs, opened by `start`, closed by `stop`."""

    def __init__(
        self,
        engine: Engine,
        address: str,
        max_message_bytes: int | None,
        *,
        share_port: bool = False,
        service: ServiceDescriptor = SERVICE,
        also: Callable[[Gate], Also] | None = None,
        keys: Keys | None = None,
        tls: grpc.ServerCredentials | None = None,
    ) -> None:
        """`address` is host:port, port 0 any; `share_port` lets several workers bind it.

        With `keys` every call but health, reflection and readiness needs one.
        """
        self.port = 0
        self._engine = engine
        self._address = address
        self._service = service
        self._server: grpc.aio.Server | None = None
        self._draining = False
        self._gate = Gate()
        self._also = [also(self._gate)] if also else []
        self._guards = [KeyInterceptor(keys, refuse)] if keys else []
        self._tls = tls
        self._options = [
            # Without this a second server would bind the port unnoticed and take half of the calls.
            ("grpc.so_reuseport", int(share_port)),
            ("grpc.max_receive_message_length", max_message_bytes or -1),
        ]
        if share_port:
            self._options.append(("grpc.max_connection_age_ms", CONNECTION_AGE_MS))

    def _serving(self) -> bool:
        return not self._draining and self._engine.ready()

    def _handler(self, task: Task, method: MethodDescriptor) -> Any:
        wire, reply = GetMessageClass(method.input_type), GetMessageClass(method.output_type)

        async def call(raw: bytes, context: Any) -> bytes | None:
            try:
                metadata = context.invocation_metadata() or ()
                with telemetry.observed(task.name, "grpc", metadata):
                    self._gate.enter()
                    # Out again after the reply has been sent.
                    context.add_done_callback(lambda _: self._gate.leave())
                    asked: Any = {"priority": priority(context)}
                    request = _parse(task, wire, raw)
                    asked["timeout_s"] = context.time_remaining()
                    if method.server_streaming:
                        stream = self._engine.stream(task.name, request, **asked)
                        async with aclosing(stream):
                            async for event in stream:
                                await context.write(to_event(event, reply).SerializeToString())
                        return None
                    response = await self._engine.answer(task.name, request, **asked)
                    return to_message(response, reply).SerializeToString()
            except Problem as error:
                problem = error
                if isinstance(error, Overloaded):
                    await self._engine.refusals.turn()
            except Exception:  # telemetry has logged it; the client learns no more than that
                problem = Problem(Problem.title)
            return await refuse(context, problem)  # type: ignore[no-any-return]

        if method.server_streaming:
            return grpc.unary_stream_rpc_method_handler(call)
        return grpc.unary_unary_rpc_method_handler(call)

    def _listing(self) -> Any:
        method = self._service.methods_by_name[LIST]
        wire, reply = GetMessageClass(method.input_type), GetMessageClass(method.output_type)

        async def call(raw: bytes, context: Any) -> bytes:
            try:
                with self._gate:
                    ListModelsRequest.model_validate(_decoded(wire, raw))
                    return to_message(self._engine.listing(), reply).SerializeToString()
            except Problem as problem:
                return await refuse(context, problem)  # type: ignore[no-any-return]

        return grpc.unary_unary_rpc_method_handler(call)

    def _live(self, task: Task) -> Any:
        streams = Streams(self._engine, self._gate, task.name)
        method = self._service.methods_by_name[task.rpc + LIVE]
        reply = GetMessageClass(method.output_type)

        async def call(raws: AsyncIterator[bytes], context: Any) -> None:
            try:
                metadata = context.invocation_metadata() or ()
                with telemetry.observed(task.name, "grpc", metadata):
                    asked, chunks = await opened(raws)
                    async with aclosing(streams.listen(asked, chunks)) as events:
                        async for event in events:
                            await context.write(to_message(event, reply).SerializeToString())
                return
            except Problem as error:
                problem = error
            except Exception:  # telemetry has logged it; the client learns no more than that
                problem = Problem(Problem.title)
            await refuse(context, problem)

        return grpc.stream_stream_rpc_method_handler(call)

    def services(self) -> dict[str, dict[str, Any]]:
        """Full name of each service → its methods: they take and give messages as bytes."""
        methods = {
            rpc: self._handler(task, self._service.methods_by_name[rpc])
            for task in self._engine.tasks.values()
            for rpc in (task.rpc, *([task.rpc + STREAM] if task.generation else []))
        }
        methods[LIST] = self._listing()
        methods |= {
            task.rpc + LIVE: self._live(task) for task in self._engine.tasks.values() if task.live
        }
        return {self._service.full_name: methods, **{one.name: one.methods for one in self._also}}

    async def start(self) -> None:
        """Bind the port and answer; raises RuntimeError if the port is taken."""
        server = grpc.aio.server(interceptors=self._guards, options=self._options)
        services = self.services()
        for name, methods in services.items():
            handler = grpc.method_handlers_generic_handler(name, methods)
            server.add_generic_rpc_handlers((handler,))
        ours = tuple(services)
        health_pb2_grpc.add_HealthServicer_to_server(Health(("", *ours), self._serving), server)
        names = (*ours, health.SERVICE_NAME, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, server)
        if self._tls:
            self.port = server.add_secure_port(self._address, self._tls)
        else:
            self.port = server.add_insecure_port(self._address)
        await server.start()
        self._server = server

    def begin_drain(self) -> None:
        """Health says NOT_SERVING from now on; calls are still answered."""
        self._draining = True

    async def stop(self, grace_s: float) -> None:
        """Refuse new calls and return when those in flight have ended, after `grace_s` at most.

        Calls are refused here and not by `grpc.aio.Server.stop`, which ends those that reach it
        with CANCELLED, a code that clients do not try again; also those that have come and wait
        for the event loop (https://github.com/grpc/grpc/issues/41785).
        """
        self.begin_drain()
        self._gate.closed = True
        if self._server is not None:
            await asyncio.sleep(REFUSE_S)
            await self._gate.empty(grace_s)
            await self._gate.quiet()
            await self._server.stop(FLUSH_S)
