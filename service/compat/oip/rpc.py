"""gRPC of the protocol: inference.GRPCInferenceService, behind the gate of our own service."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any

import grpc
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from service.compat.oip import about, repository
from service.compat.oip.infer import infer, timeout_s
from service.compat.oip.messages import answer_of, asked_of
from service.compat.oip.models import Models
from service.compat.oip.pb import open_inference_pb2 as pb
from service.engine import Engine
from service.errors import MalformedRequest, Problem
from service.gate import Gate
from service.http_call import SORRY
from service.rpc import Also, priority, refuse
from service.telemetry import observed

log = logging.getLogger("attendant")

SERVICE = pb.DESCRIPTOR.services_by_name["GRPCInferenceService"]
AHEAD = 16
"""Requests of one stream that are worked on at a time; their answers keep their order."""
STATUS_WANTED = ("triton_grpc_error", "true")
"""Metadata of clients that want the first error of a stream to be its end."""

Work = Callable[[Any, Any], Awaitable[Message]]


def _decoded(wire: type[Message], raw: bytes) -> Any:
    try:
        return wire.FromString(raw)
    except DecodeError as error:
        raise MalformedRequest(f"the message is not a {wire.DESCRIPTOR.name}") from error


async def _or_problem(work: Awaitable[Message]) -> Message | Problem:
    try:
        return await work
    except Problem as problem:
        return problem
    except Exception:
        log.exception("a call of the Open Inference Protocol failed")
        return Problem(SORRY)


async def _raised(problem: Problem) -> Message:
    raise problem


def _unary(wire: type[Message], work: Work) -> "grpc.RpcMethodHandler[Any, Any]":
    async def call(raw: bytes, context: Any) -> Any:
        async def answer() -> Message:
            return await work(_decoded(wire, raw), context)

        answered = await _or_problem(answer())
        if isinstance(answered, Problem):
            return await refuse(context, answered)
        return answered.SerializeToString()

    return grpc.unary_unary_rpc_method_handler(call)


class _Service:
    """One method for each of the protocol's, under its name."""

    def __init__(self, engine: Engine, gate: Gate) -> None:
        self._engine, self._gate, self._models = engine, gate, Models(engine)

    async def _infer(self, message: Any, context: Any) -> pb.ModelInferResponse:
        name = message.model_name
        metadata = context.invocation_metadata() or ()
        with observed(self._models.task(name).name, "oip-grpc", metadata):
            asked, found = asked_of(message), await self._models.find(name, message.model_version)
            waits_s = [s for s in (context.time_remaining(), timeout_s(asked)) if s is not None]
            inferred = await infer(
                self._engine,
                found,
                asked,
                timeout_s=min(waits_s, default=None),
                priority=priority(context),
            )
            return answer_of(message, inferred)

    async def ModelInfer(self, message: Any, context: Any) -> Message:
        self._gate.enter()
        context.add_done_callback(lambda _: self._gate.leave())
        return await self._infer(message, context)

    async def ModelStreamInfer(self, raws: AsyncIterator[bytes], context: Any) -> None:
        """An answer for each request, in their order; several are worked on at a time."""
        ends = STATUS_WANTED in (context.invocation_metadata() or ())
        begun: asyncio.Queue[asyncio.Task[Message | Problem] | None] = asyncio.Queue(AHEAD)
        working: set[asyncio.Task[Any]] = set()

        async def answer(raw: bytes) -> Message:
            with self._gate:
                message = _decoded(pb.ModelInferRequest, raw)
                try:
                    answered = await self._infer(message, context)
                except Problem as problem:
                    if ends:
                        raise
                    answer = pb.ModelInferResponse(model_name=message.model_name, id=message.id)
                    said = str(problem)
                    return pb.ModelStreamInferResponse(error_message=said, infer_response=answer)
                answered.parameters["triton_final_response"].bool_param = True
                return pb.ModelStreamInferResponse(infer_response=answered)

        async def read() -> None:
            async def begin(work: Awaitable[Message]) -> None:
                task = asyncio.create_task(_or_problem(work))
                working.add(task)
                task.add_done_callback(working.discard)
                await begun.put(task)

            try:
                async for raw in raws:
                    await begin(answer(raw))
            except Problem as problem:  # the key has been used up
                await begin(_raised(problem))
            await begun.put(None)

        reading = asyncio.create_task(read())
        try:
            while task := await begun.get():
                answered = await task
                if isinstance(answered, Problem):
                    if ends:
                        await refuse(context, answered)
                    answered = pb.ModelStreamInferResponse(error_message=str(answered))
                await context.write(answered.SerializeToString())
        finally:
            for one in (reading, *working):
                one.cancel()
            with suppress(asyncio.CancelledError):
                await reading

    async def ServerLive(self, message: Any, context: Any) -> Message:
        return pb.ServerLiveResponse(live=True)

    async def ServerReady(self, message: Any, context: Any) -> Message:
        return pb.ServerReadyResponse(ready=self._engine.ready())

    async def ModelReady(self, message: Any, context: Any) -> Message:
        return pb.ModelReadyResponse(ready=self._models.ready(message.name, message.version))

    async def ServerMetadata(self, message: Any, context: Any) -> Message:
        return pb.ServerMetadataResponse(**about.SERVER)

    async def ModelMetadata(self, message: Any, context: Any) -> Message:
        found = await about.metadata(self._models, message.name, message.version)
        return pb.ModelMetadataResponse(**found)

    async def ModelConfig(self, message: Any, context: Any) -> Message:
        found = await about.config(self._models, message.name, message.version)
        return pb.ModelConfigResponse(config=found)

    async def ModelStatistics(self, message: Any, context: Any) -> Message:
        named = (message.name, message.version)
        counted = await asyncio.to_thread(about.stats, self._models, *named)
        return pb.ModelStatisticsResponse(model_stats=counted)

    async def RepositoryIndex(self, message: Any, context: Any) -> Message:
        return pb.RepositoryIndexResponse(models=about.index(self._models, ready=message.ready))

    async def RepositoryModelLoad(self, message: Any, context: Any) -> Message:
        await repository.load(self._models, message.model_name, message.parameters)
        return pb.RepositoryModelLoadResponse()

    async def RepositoryModelUnload(self, message: Any, context: Any) -> Message:
        await repository.unload(self._models, message.model_name, message.parameters)
        return pb.RepositoryModelUnloadResponse()


def open_inference(engine: Engine, gate: Gate) -> Also:
    """The service of the protocol."""
    service = _Service(engine, gate)
    methods: dict[str, grpc.RpcMethodHandler[Any, Any]] = {}
    for method in SERVICE.methods:
        work = getattr(service, method.name)
        if method.server_streaming:
            methods[method.name] = grpc.stream_stream_rpc_method_handler(work)
        else:
            methods[method.name] = _unary(GetMessageClass(method.input_type), work)
    return Also(SERVICE.full_name, methods)
