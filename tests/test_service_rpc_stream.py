"""Calls to the streaming method of a task: events as they come, and every way to end early."""

import asyncio
from typing import Any

import grpc
import pytest
from fake_door import HELLO, METHODS, NAME, Door, with_door
from google.protobuf.message_factory import GetMessageClass

from service.errors import Overloaded
from service.schema import Partial

Code = grpc.StatusCode
EVENT = GetMessageClass(METHODS["ShoutStream"].output_type)
PARTIALS = [Partial(text="HEL"), Partial(text="LO", index=1), Partial(text="", replaces=True)]


def streamed(door: Door, **options: Any) -> Any:
    method = door.channel.unary_stream(
        f"/{NAME}/ShoutStream", response_deserializer=EVENT.FromString
    )
    return method(HELLO.SerializeToString(), **options)


async def until_cancelled(door: Door) -> None:
    while not door.engine.cancelled:
        await asyncio.sleep(0.01)


def test_partial_texts_come_first_and_the_ordinary_answer_last() -> None:
    async def scenario(door: Door) -> None:
        door.engine.partials = PARTIALS
        *partials, last = [event async for event in streamed(door)]
        assert [event.WhichOneof("event") for event in partials] == ["partial"] * len(PARTIALS)
        told = [event.partial for event in partials]
        assert [
            Partial(index=each.index, text=each.text, replaces=each.replaces) for each in told
        ] == PARTIALS
        assert last.answer == await door.call("Shout", HELLO)

    with_door(scenario)


def test_only_a_task_that_generates_tokens_streams() -> None:
    assert {name for name in METHODS if name.endswith("Stream")} == {"ShoutStream"}


@pytest.mark.parametrize("partials", [[], PARTIALS])
def test_a_problem_ends_the_stream_with_its_code(partials: list[Partial]) -> None:
    async def scenario(door: Door) -> None:
        door.engine.partials, door.engine.problem = partials, Overloaded("full", retry_after_s=2)
        call = streamed(door)
        for _ in partials:
            assert (await call.read()).HasField("partial")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call.read()
        assert caught.value.code() == Code.RESOURCE_EXHAUSTED
        assert ("retry-after", "2") in tuple(caught.value.trailing_metadata())

    with_door(scenario)


def test_a_client_that_cancels_in_the_middle_takes_its_work_along() -> None:
    async def scenario(door: Door) -> None:
        door.engine.partials, door.engine.delay_s = PARTIALS, 15
        call = streamed(door)
        for _ in PARTIALS:
            assert (await call.read()).HasField("partial")
        call.cancel()
        await until_cancelled(door)
        await asyncio.wait_for(door.server.stop(grace_s=15), 5)  # it counts as ended

    with_door(scenario)


def test_a_deadline_ends_the_stream_and_the_engines_work() -> None:
    async def scenario(door: Door) -> None:
        door.engine.partials, door.engine.delay_s = PARTIALS, 15
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            async for _ in streamed(door, timeout=0.2):
                pass
        assert caught.value.code() == Code.DEADLINE_EXCEEDED
        # gRPC keeps deadlines in whole milliseconds, rounded up at both ends.
        assert 0 < (door.engine.asked[0][2] or 0) <= 0.202
        await until_cancelled(door)

    with_door(scenario)


def test_a_stop_lets_a_stream_finish_and_refuses_the_next() -> None:
    async def scenario(door: Door) -> None:
        door.engine.partials, door.engine.delay_s = PARTIALS, 0.4
        call = streamed(door)
        assert (await call.read()).HasField("partial")
        stopping = asyncio.create_task(door.server.stop(grace_s=5))
        await asyncio.sleep(0.02)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await streamed(door).read()
        assert caught.value.code() == Code.UNAVAILABLE
        kinds = [(await call.read()).WhichOneof("event") for _ in PARTIALS]
        assert kinds == ["partial", "partial", "answer"]
        await stopping

    with_door(scenario)
