"""A gRPC server that stops finishes what it has begun, and says so before it refuses."""

import asyncio
import time

import grpc
from fake_door import HELLO, NAME, Door, with_door
from grpc_health.v1 import health_pb2

from service.rpc import REFUSE_S

Code = grpc.StatusCode


def test_a_stop_lets_calls_in_flight_finish_and_refuses_new_ones() -> None:
    async def scenario(door: Door) -> None:
        door.engine.delay_s = 0.5
        calls = [asyncio.create_task(door.call("Shout", HELLO)) for _ in range(4)]
        while len(door.engine.asked) < 4:
            await asyncio.sleep(0.01)
        watch = door.health.Watch(health_pb2.HealthCheckRequest())
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
        began = asyncio.get_running_loop().time()
        stopping = asyncio.create_task(door.server.stop(grace_s=15))
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
        code, _ = await door.refusal("Shout", HELLO)
        assert code == Code.UNAVAILABLE
        await stopping
        # The watcher's open stream must not hold the stop for the whole grace.
        assert asyncio.get_running_loop().time() - began < 5
        assert [(await call).shouts[0].text for call in calls] == ["HELLO!"] * 4

    with_door(scenario)


def test_no_answer_is_lost_when_the_stop_comes_under_load() -> None:
    async def scenario(door: Door) -> None:
        door.engine.delay_s = 0.02
        refusals, answers = [], 0

        async def client() -> None:
            nonlocal answers
            while True:
                try:
                    await door.call("Shout", HELLO)
                    answers += 1
                except grpc.aio.AioRpcError as error:
                    refusals.append(error.code())
                    return

        clients = [asyncio.create_task(client()) for _ in range(16)]
        await asyncio.sleep(0.2)
        await door.server.stop(grace_s=15)
        await asyncio.gather(*clients)
        assert refusals == [Code.UNAVAILABLE] * 16
        assert answers == door.engine.answered == len(door.engine.asked) > 16

    with_door(scenario)


def test_calls_that_come_while_the_event_loop_stands_still_are_refused_in_words() -> None:
    async def scenario(door: Door) -> None:
        await door.call("Shout", HELLO)
        stopping = asyncio.create_task(door.server.stop(grace_s=15))
        await asyncio.sleep(REFUSE_S / 2)
        calls = [asyncio.create_task(door.refusal("Shout", HELLO)) for _ in range(30)]
        for _ in range(3):
            await asyncio.sleep(0)  # they leave
        time.sleep(2 * REFUSE_S)
        assert {(await call)[0] for call in calls} == {Code.UNAVAILABLE}
        await stopping

    with_door(scenario)


def test_a_stop_ends_after_its_grace_though_work_goes_on() -> None:
    async def scenario(door: Door) -> None:
        door.engine.delay_s = 30
        call = asyncio.create_task(door.refusal("Shout", HELLO))
        while not door.engine.asked:
            await asyncio.sleep(0.01)
        await door.server.stop(grace_s=0.2)
        code, _ = await call
        assert code in (Code.UNAVAILABLE, Code.CANCELLED)

    with_door(scenario)


def test_health_follows_the_engine_and_the_drain_while_calls_are_still_answered() -> None:
    async def scenario(door: Door) -> None:
        states = health_pb2.HealthCheckResponse
        door.engine.is_ready = False
        assert await door.status() == states.NOT_SERVING
        door.engine.is_ready = True
        assert await door.status() == await door.status(NAME) == states.SERVING
        door.server.begin_drain()
        assert await door.status() == await door.status(NAME) == states.NOT_SERVING
        assert (await door.call("Shout", HELLO)).shouts[0].text == "HELLO!"

    with_door(scenario)


def test_a_watcher_hears_of_the_drain_after_another_has_left() -> None:
    async def scenario(door: Door) -> None:
        watches = [door.health.Watch(health_pb2.HealthCheckRequest()) for _ in range(2)]
        for watch in watches:
            assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
        watches[0].cancel()
        await asyncio.sleep(0.2)
        door.server.begin_drain()
        assert (await watches[1].read()).status == health_pb2.HealthCheckResponse.NOT_SERVING

    with_door(scenario)
