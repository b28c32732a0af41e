"""calls to a gRPC server over a fake engine → the engine's answers, and every way to be refused."""

import asyncio
import logging
from typing import Any

import grpc
import pytest
from fake_door import HELLO, LIMIT_BYTES, METHODS, NAME, Door, request, with_door
from fake_tasks import PROBLEMS, TASKS, ShoutRequest, fake_service
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from service import errors
from service.errors import Problem
from service.pb.convert import to_message
from service.rpc import RpcServer

Code = grpc.StatusCode
UNKNOWN_FIELD = b"\xa0\x06\x01"
"""Field 100, a varint."""


def test_the_door_answers_what_the_engine_answers() -> None:
    async def scenario(door: Door) -> None:
        for task in TASKS:
            method = METHODS[task.rpc]
            sent = to_message(task.example(), GetMessageClass(method.input_type))
            got = await door.call(task.rpc, sent)
            answer = await door.engine.answer(task.name, task.example())
            assert got == to_message(answer, GetMessageClass(method.output_type))
            assert task.expected in str(answer)

    with_door(scenario)


def test_the_engine_gets_the_request_with_its_defaults_and_the_deadline() -> None:
    async def scenario(door: Door) -> None:
        await door.call("Shout", HELLO, timeout=5)
        await door.call("Shout", HELLO)
        (_, first, timeout_s), (_, second, no_timeout) = door.engine.asked
        assert first == second == ShoutRequest(text=["hello"], times=1)
        assert 4 < (timeout_s or 0) < 5.1  # gRPC rounds it
        assert no_timeout is None

    with_door(scenario)


@pytest.mark.parametrize("kind", PROBLEMS)
def test_every_problem_has_its_code_and_names_the_field(kind: type[Problem]) -> None:
    async def scenario(door: Door) -> None:
        door.engine.problem = kind("is not served", "text")
        assert await door.refusal("Shout", HELLO) == (kind.code, "text: is not served")

    with_door(scenario)


@pytest.mark.parametrize(
    ("rpc", "fields", "words"),
    [
        ("Shout", {"text": ["a"], "times": 9}, ["times: ", "3"]),
        ("Shout", {"times": 2}, ["text: ", "required"]),
        ("WeighThing", {"thing": b"x" * 101}, ["thing: ", "100 bytes"]),
        ("WeighThing", {"thing": b""}, ["thing: ", "1 byte"]),
    ],
)
def test_a_value_over_a_limit_is_refused_with_field_and_limit(
    rpc: str, fields: dict[str, Any], words: list[str]
) -> None:
    async def scenario(door: Door) -> None:
        code, details = await door.refusal(rpc, request(rpc, **fields))
        assert code == Code.INVALID_ARGUMENT
        assert all(word in details for word in words), details
        assert not door.engine.asked

    with_door(scenario)


@pytest.mark.parametrize(
    "raw",
    [b"\xff\xff\xff", b"\x0a\x02\xff\xfe", HELLO.SerializeToString() + UNKNOWN_FIELD],
    ids=["not protobuf", "not UTF-8", "unknown field"],
)
def test_bytes_that_are_not_the_message_are_the_clients_fault(raw: bytes) -> None:
    async def scenario(door: Door) -> None:
        code, details = await door.refusal("Shout", raw)
        assert code == Code.INVALID_ARGUMENT
        assert "ShoutRequest" in details
        assert not door.engine.asked

    with_door(scenario)


def test_a_fault_of_the_server_is_logged_once_and_not_shown(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def scenario(door: Door) -> None:
        door.engine.problem = ZeroDivisionError("secret")
        assert await door.refusal("Shout", HELLO) == (Code.INTERNAL, "internal error")

    with caplog.at_level(logging.ERROR):
        with_door(scenario)
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert "secret" in caplog.text


def test_a_deadline_ends_the_call_and_the_engines_work(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(door: Door) -> None:
        door.engine.delay_s = 1
        code, _ = await door.refusal("Shout", HELLO, timeout=0.1)
        assert code == Code.DEADLINE_EXCEEDED
        await asyncio.sleep(1)
        assert (len(door.engine.asked), door.engine.answered) == (1, 0)
        await asyncio.wait_for(door.server.stop(grace_s=15), 5)  # it counts as ended

    with caplog.at_level(logging.INFO):
        with_door(scenario)
    (line,) = [record for record in caplog.records if "task=shout" in record.getMessage()]
    assert line.levelname == "INFO"
    assert "code=cancelled" in line.getMessage()


def test_a_message_over_the_limit_is_refused_and_the_next_is_served() -> None:
    async def scenario(door: Door) -> None:
        large = request("Shout", text=["x" * LIMIT_BYTES])
        code, _ = await door.refusal("Shout", large)
        assert code == Code.RESOURCE_EXHAUSTED
        assert (await door.call("Shout", HELLO)).shouts[0].text == "HELLO!"

    with_door(scenario)


def test_health_of_an_unknown_service_is_not_found() -> None:
    async def scenario(door: Door) -> None:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await door.status("nobody")
        assert caught.value.code() == Code.NOT_FOUND

    with_door(scenario)


def test_reflection_lists_the_services() -> None:
    async def scenario(door: Door) -> None:
        stub = reflection_pb2_grpc.ServerReflectionStub(door.channel)
        asked = reflection_pb2.ServerReflectionRequest(list_services="")
        stream = stub.ServerReflectionInfo(iter([asked]))
        listed = {service.name for service in (await stream.read()).list_services_response.service}
        reflection = "grpc.reflection.v1alpha.ServerReflection"
        assert listed == {NAME, "grpc.health.v1.Health", reflection}

    with_door(scenario)


def test_garbage_on_the_port_hurts_nobody() -> None:
    async def scenario(door: Door) -> None:
        for garbage in (b"GET / HTTP/1.1\r\n\r\n", bytes(range(256)) * 40, b"PRI * HTTP/2.0\r\n"):
            _, writer = await asyncio.open_connection("127.0.0.1", door.server.port)
            writer.write(garbage)
            await writer.drain()
            writer.close()
        assert (await door.call("Shout", HELLO)).shouts[0].text == "HELLO!"

    with_door(scenario)


def test_a_method_without_a_task_is_unimplemented() -> None:
    async def scenario(door: Door) -> None:
        method = door.channel.unary_unary(f"/{NAME}/Whisper")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await method(b"")
        assert caught.value.code() == Code.UNIMPLEMENTED

    with_door(scenario)


def test_a_port_that_is_taken_fails_at_the_start() -> None:
    async def scenario(door: Door) -> None:
        address = f"127.0.0.1:{door.server.port}"
        second = RpcServer(door.engine, address, LIMIT_BYTES, service=fake_service())
        with pytest.raises(RuntimeError):
            await second.start()
        await second.stop(grace_s=0)

    with_door(scenario)


def test_workers_can_share_a_port() -> None:
    async def scenario(door: Door) -> None:
        shared: dict[str, Any] = {"share_port": True, "service": fake_service()}
        first = RpcServer(door.engine, "127.0.0.1:0", LIMIT_BYTES, **shared)
        await first.start()
        second = RpcServer(door.engine, f"127.0.0.1:{first.port}", LIMIT_BYTES, **shared)
        await second.start()
        assert second.port == first.port
        await asyncio.gather(first.stop(grace_s=0), second.stop(grace_s=0))

    with_door(scenario)


def test_a_client_that_cancels_takes_its_work_along() -> None:
    async def scenario(door: Door) -> None:
        door.engine.delay_s = 15
        call = asyncio.create_task(door.call("Shout", HELLO))
        while not door.engine.asked:
            await asyncio.sleep(0.01)
        call.cancel()
        while not door.engine.cancelled:
            await asyncio.sleep(0.01)

    with_door(scenario)


def test_the_urgency_reaches_the_engine_and_one_out_of_range_is_refused() -> None:
    async def scenario(door: Door) -> None:
        await door.call("Shout", HELLO, metadata=(("priority", "u=1"),))
        await door.call("Shout", HELLO)
        assert door.engine.priorities == [2, 0]
        code, words = await door.refusal("Shout", HELLO, metadata=(("priority", "u=9"),))
        assert code == Code.INVALID_ARGUMENT
        assert "priority" in words

    with_door(scenario)


def test_who_is_sent_away_hears_when_to_come_back() -> None:
    async def scenario(door: Door) -> None:
        async def trailers() -> dict[str, Any]:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await door.call("Shout", HELLO)
            return dict(caught.value.trailing_metadata())

        door.engine.problem = errors.Overloaded("full", retry_after_s=2.1)
        said = await trailers()
        assert (said["retry-after"], said["grpc-retry-pushback-ms"]) == ("3", "3000")
        door.engine.problem = errors.InvalidInput("wrong")
        assert not await trailers()

    with_door(scenario)
