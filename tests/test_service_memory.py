"""More models than there is room for: who is loaded, who has to go, and who waits."""

import asyncio
import weakref

import pytest
from fake_store import ONE, SIZE_BYTES, TWO, Store, ask, loaded, slow, until, with_store

from service.engine import Engine
from service.errors import (
    DeadlineExceeded,
    Overloaded,
    TooLargeForMemory,
    Unavailable,
)
from service.memory import MAX_WAITING


def test_the_model_asked_longest_ago_makes_room() -> None:
    async def scenario(engine: Engine, made: Store) -> None:
        for name in ("shout", "b", "shout", "c"):
            await ask(engine, name)
        assert loaded(engine) == {"shout:1", "c:1"}
        await ask(engine, "b")
        assert loaded(engine) == {"b:1", "c:1"}
        assert engine.listing().memory_bytes == 2 * SIZE_BYTES
        assert made.opened == {"shout:1": 1, "b:1": 2, "c:1": 1}

    with_store(scenario, "shout:1", "b:1", "c:1", **TWO)


def test_a_model_in_use_is_not_taken_out_and_who_needs_its_room_waits() -> None:
    async def scenario(engine: Engine, made: Store) -> None:
        event, held = slow(made)
        engine.models.registry.named("shout").task = made.tasks[0]
        await ask(engine)
        held.add("shout:1")
        busy = asyncio.create_task(ask(engine))
        await until(lambda: engine.find("shout").loaded.gate.inside)  # type: ignore[union-attr]
        waiting = asyncio.create_task(ask(engine, "other"))
        with pytest.raises(DeadlineExceeded):
            await ask(engine, "other", timeout_s=0.05)
        assert loaded(engine) == {"shout:1"}
        assert made.opened["other:1"] == 0
        event.set()
        assert await busy == "shout:1"
        assert await waiting == "other:1"
        assert loaded(engine) == {"other:1"}

    with_store(scenario, "shout:1", "other:1", **ONE)


def test_a_model_that_never_fits_is_refused_and_takes_nobodys_room() -> None:
    async def scenario(engine: Engine, made: Store) -> None:
        await ask(engine)
        engine.models.registry.named("huge").bytes = SIZE_BYTES + 1
        with pytest.raises(TooLargeForMemory, match=r"huge:1 takes 101 bytes .* take 100") as said:
            await ask(engine, "huge")
        assert (said.value.status, said.value.retry_after()) == (507, None)
        assert loaded(engine) == {"shout:1"}

    with_store(scenario, "shout:1", "huge:1", **ONE)


def test_first_requests_that_come_together_load_once_and_others_go_on() -> None:
    async def scenario(engine: Engine, made: Store) -> None:
        let = made.hold("other:1")
        waiting = [asyncio.create_task(ask(engine, "other")) for _ in range(20)]
        await until(lambda: made.opened["other:1"])
        assert {await ask(engine) for _ in range(20)} == {"shout:1"}
        with pytest.raises(DeadlineExceeded):
            await ask(engine, "other", timeout_s=0.02)
        states = {one.name: one.state for one in engine.listing().models}
        assert states == {"shout": "loaded", "other": "loading"}
        let.set()
        assert set(await asyncio.gather(*waiting)) == {"other:1"}
        assert made.opened["other:1"] == 1

    with_store(scenario, "shout:1", "other:1")


def test_a_load_goes_on_when_the_one_who_asked_first_has_left() -> None:
    async def scenario(engine: Engine, made: Store) -> None:
        let = made.hold("other:1")
        first = asyncio.create_task(ask(engine, "other"))
        await until(lambda: made.opened["other:1"])
        first.cancel()
        let.set()
        assert await ask(engine, "other") == "other:1"
        assert made.opened["other:1"] == 1

    with_store(scenario, "shout:1", "other:1")


def test_only_so_many_wait_for_one_model() -> None:
    async def scenario(engine: Engine, made: Store) -> None:
        let = made.hold("other:1")
        waiting = [asyncio.create_task(ask(engine, "other")) for _ in range(MAX_WAITING)]
        await until(lambda: engine.models.registry.named("other").waiting == MAX_WAITING)
        with pytest.raises(Overloaded, match="wait for other:1 to be loaded"):
            await ask(engine, "other")
        let.set()
        assert set(await asyncio.gather(*waiting)) == {"other:1"}

    with_store(scenario, "shout:1", "other:1", queue_batches=MAX_WAITING)


def test_a_failed_load_is_told_to_all_who_wait_and_tried_again_later_only() -> None:
    async def scenario(engine: Engine, made: Store) -> None:
        made.broken.add("other:1")
        let = made.hold("other:1")
        waiting = [asyncio.create_task(ask(engine, "other")) for _ in range(5)]
        await until(lambda: made.opened["other:1"])
        let.set()
        told = await asyncio.gather(*waiting, return_exceptions=True)
        assert {type(one) for one in told} == {Unavailable}
        for _ in range(20):
            with pytest.raises(Unavailable, match=r"decoder\.onnx is changed") as said:
                await ask(engine, "other")
        assert said.value.retry_after() == 1
        assert made.opened["other:1"] == 1, "a storm of requests is no storm of loads"
        assert await ask(engine) == "shout:1"
        made.broken.clear()
        engine.models.registry.named("other").retry_s = 0
        assert await ask(engine, "other") == "other:1"

    with_store(scenario, "shout:1", "other:1")


def test_a_start_loads_no_more_than_there_is_room_for() -> None:
    async def scenario(engine: Engine, made: Store) -> None:
        assert loaded(engine) == {"shout:1"}
        assert await ask(engine, "other") == "other:1"

    with_store(scenario, "shout:1", "other:1", **{**ONE, "preload": ("shout", "other")})


def test_what_a_model_leaves_behind_is_the_systems_again() -> None:
    async def scenario(engine: Engine, made: Store) -> None:
        await ask(engine)
        left = weakref.ref(engine.find("shout").loaded)
        await ask(engine, "other")
        assert loaded(engine) == {"other:1"}
        assert left() is None

    with_store(scenario, "shout:1", "other:1", **ONE)
