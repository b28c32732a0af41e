"""a fake engine behind a running gRPC server → a client's view of it, for tests of that door."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from fake_tasks import FakeEngine, fake_service
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2, health_pb2_grpc

from service.rpc import RpcServer

METHODS = fake_service().methods_by_name
NAME = fake_service().full_name
LIMIT_BYTES = 4_096


class Door:
    """A running server with its engine, and a client's view of it."""

    def __init__(self, server: RpcServer, engine: FakeEngine, channel: grpc.aio.Channel) -> None:
        self.server, self.engine, self.channel = server, engine, channel
        self.health = health_pb2_grpc.HealthStub(channel)

    async def call(self, rpc: str, message: Message | bytes, **options: Any) -> Any:
        raw = message if isinstance(message, bytes) else message.SerializeToString()
        reply = GetMessageClass(METHODS[rpc].output_type)
        method = self.channel.unary_unary(f"/{NAME}/{rpc}", response_deserializer=reply.FromString)
        return await method(raw, **options)

    async def refusal(self, rpc: str, message: Message | bytes, **options: Any) -> tuple[Any, str]:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await self.call(rpc, message, **options)
        return caught.value.code(), caught.value.details() or ""

    async def status(self, service: str = "") -> int:
        return (await self.health.Check(health_pb2.HealthCheckRequest(service=service))).status


@asynccontextmanager
async def opened() -> AsyncIterator[Door]:
    engine = FakeEngine()
    server = RpcServer(engine, "127.0.0.1:0", LIMIT_BYTES, service=fake_service())
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        yield Door(server, engine, channel)
    await server.stop(grace_s=0)


def with_door(scenario: Callable[[Door], Awaitable[None]]) -> None:
    async def run() -> None:
        async with asyncio.timeout(20), opened() as door:
            await scenario(door)

    asyncio.run(run())


def request(rpc: str, **fields: Any) -> Message:
    return GetMessageClass(METHODS[rpc].input_type)(**fields)


HELLO = request("Shout", text=["hello"])
