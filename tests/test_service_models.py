"""Many models in one service: who is loaded, who has to go, who waits, and what the others see."""

import asyncio
import threading
import weakref
from typing import Any
from unittest.mock import Mock

import pytest
from fake_models import shouting
from fake_store import SIZE_BYTES, Store, with_store
from fake_tasks import ShoutRequest, WeighRequest
from pydantic import ValidationError

from service.engine import Engine
from service.errors import (
    DeadlineExceeded,
    InvalidInput,
    NotFound,
    Overloaded,
    TooLargeForMemory,
    Unavailable,
)
from service.memory import MAX_WAITING
from service.settings import Settings

LAZY: dict[str, Any] = {"preload": ()}
TWO = {**LAZY, "model_memory_bytes": 2 * SIZE_BYTES}
ONE = {**LAZY, "model_memory_bytes": SIZE_BYTES}


async def ask(engine: Engine, model: str = "", **given: Any) -> str:
    answer = await engine.answer("shout", ShoutRequest(text="a", model=model), **given)
    return answer.model


def loaded(engine: Engine) -> set[str]:
    listed = engine.listing().models
    return {f"{one.name}:{one.version}" for one in listed if one.state == "loaded"}


async def until(condition: Any) -> None:
    while not condition():
        await asyncio.sleep(0.001)


def slow(made: Store) -> Any:
    """Requests of the task are computed until this event is set."""
    event = threading.Event()

    def forward(model: Any, assets: Any, items: Any) -> list[dict[str, Any]]:
        if model.name in held:
            assert event.wait(timeout=20)
        return [{} for _ in items]

    held: set[str] = set()
    made.tasks[0] = shouting(forward=forward)
    return event, held


def test_a_request_without_a_model_is_answered_by_the_default() -> None:
    async def scenario(engine: Engine, made: Store) -> None:
        assert loaded(engine) == {"shout:1"}, "only the default is there from the start"
        assert await ask(engine) == "shout:1"
        assert await ask(engine, "other") == await ask(engine, "other:2") == "other:2"
        assert await ask(engine, "other:1") == "other:1", "an older version is there, too"
        assert loaded(engine) == {"shout:1", "other:1", "other:2"}

    with_store(scenario, "shout:1", "other:1", "other:2")


def test_the_settings_choose_the_default_and_what_is_loaded_first() -> None:
    async def scenario(engine: Engine, made: Store) -> None:
        assert loaded(engine) == {"third:1"}
        assert await ask(engine) == "other:1"

    chosen = {"default_models": {"shout": "other"}, "preload": ("third",)}
    with_store(scenario, "shout:1", "other:1", "third:1", **chosen)


def test_the_default_is_the_first_by_name_where_none_is_named_as_the_task() -> None:
    async def scenario(engine: Engine, made: Store) -> None:
        assert await ask(engine) == "alto:1"

    with_store(scenario, "tenor:1", "alto:1")


@pytest.mark.parametrize(
    ("asked", "error", "words"),
    [
        ("nobody", NotFound, r"model: there is no model 'nobody'; there are other, shout$"),
        ("other:9", NotFound, r"model: other has no version '9'; there are 1"),
        ("weigh-thing", InvalidInput, "model: weigh-thing is for weigh-thing, not shout"),
    ],
)
def test_what_is_not_there_is_refused_with_what_there_is(
    asked: str, error: type[Exception], words: str
) -> None:
    async def scenario(engine: Engine, made: Store) -> None:
        with pytest.raises(error, match=words):
            await ask(engine, asked)

    with_store(scenario, "shout:1", "other:1", "weigh-thing:1", **LAZY)


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


def test_models_come_and_go_under_load_and_no_request_fails() -> None:
    names = ["shout", "b", "c", "d", "e"]

    async def scenario(engine: Engine, made: Store) -> None:
        asked: list[tuple[str, str]] = []
        most = 0

        async def client(number: int) -> None:
            nonlocal most
            for turn in range(30):
                name = names[(number * 7 + turn * turn) % len(names)]
                asked.append((name, await ask(engine, name)))
                most = max(most, engine.listing().memory_bytes)

        await asyncio.gather(*(client(number) for number in range(8)))
        assert len(asked) == 240
        assert all(answered == f"{name}:1" for name, answered in asked)
        assert most <= 2 * SIZE_BYTES
        assert max(made.opened.values()) > 1

    with_store(scenario, *(f"{name}:1" for name in names), **TWO)


def test_one_model_of_many_is_renewed_and_the_others_stay_as_they_are() -> None:
    async def scenario(engine: Engine, made: Store) -> None:
        await ask(engine, "other")
        before = engine.find("shout").loaded
        made.add("other:2")
        await engine.models.reload()
        assert loaded(engine) == {"shout:1", "other:2"}
        assert await ask(engine, "other") == "other:2"
        assert await ask(engine, "other:1") == "other:1"
        assert engine.find("shout").loaded is before
        assert made.opened["shout:1"] == 1
        made.broken.add("other:3")
        made.add("other:3")
        await engine.models.reload()
        assert await ask(engine, "other") == "other:2"
        assert "other:3" in engine.models.registry.stale["other"]

    with_store(scenario, "shout:1", "other:1")


def test_a_model_that_is_not_loaded_is_renewed_without_being_loaded() -> None:
    async def scenario(engine: Engine, made: Store) -> None:
        made.add("other:2")
        await engine.models.reload()
        assert made.opened["other:2"] == 0
        assert await ask(engine, "other") == "other:2"

    with_store(scenario, "shout:1", "other:1")


def test_versions_that_have_left_the_store_are_forgotten() -> None:
    async def scenario(engine: Engine, made: Store) -> None:
        made.newest["other"] = ["other:2"]
        await engine.models.reload()
        with pytest.raises(NotFound, match="there are 2"):
            await ask(engine, "other:1")

    with_store(scenario, "shout:1", "other:1", "other:2", **LAZY)


def test_an_unloaded_model_is_refused_until_it_is_taken_again() -> None:
    async def scenario(engine: Engine, made: Store) -> None:
        await ask(engine, "other")
        await engine.models.unload("other")
        with pytest.raises(Unavailable, match="other was unloaded"):
            await ask(engine, "other")
        assert await ask(engine) == "shout:1"
        await engine.models.take("other")
        assert await ask(engine, "other") == "other:1"

    with_store(scenario, "shout:1", "other:1")


def test_a_start_loads_no_more_than_there_is_room_for() -> None:
    async def scenario(engine: Engine, made: Store) -> None:
        assert loaded(engine) == {"shout:1"}
        assert await ask(engine, "other") == "other:1"

    with_store(scenario, "shout:1", "other:1", **{**ONE, "preload": ("shout", "other")})


def test_a_full_queue_and_a_short_time_are_one_models_own() -> None:
    async def scenario(engine: Engine, made: Store) -> None:
        event, held = slow(made)
        for name in ("shout", "other"):
            engine.models.registry.named(name).task = made.tasks[0]
            await ask(engine, name)
        held |= {"shout:1", "other:1"}
        asked = [asyncio.create_task(ask(engine, name)) for name in ("shout", "other") * 4]
        await asyncio.sleep(0.1)
        event.set()
        told = await asyncio.gather(*asked, return_exceptions=True)
        assert told[::2] == ["shout:1"] * 4
        refused = [one for one in told[1::2] if isinstance(one, Overloaded)]
        assert 0 < len(refused) < 4
        assert str(refused[0]) == "the queue of other is full; try again later"

    limits = {"other": {"queue_batches": 1}}
    with_store(scenario, "shout:1", "other:1", model_limits=limits)


def test_a_models_own_time_is_over_sooner() -> None:
    async def scenario(engine: Engine, made: Store) -> None:
        event, held = slow(made)
        engine.models.registry.named("other").task = made.tasks[0]
        await ask(engine, "other")
        held.add("other:1")
        with pytest.raises(DeadlineExceeded, match=r"0\.05 s"):
            await ask(engine, "other")
        event.set()

    with_store(scenario, "shout:1", "other:1", model_limits={"other": {"timeout_s": 0.05}})


def test_each_task_has_its_models() -> None:
    async def scenario(engine: Engine, made: Store) -> None:
        registry = engine.models.registry
        assert registry.names("weigh-thing") == ["weigh-thing"]
        with pytest.raises(InvalidInput, match="shout is for shout, not weigh-thing"):
            await engine.answer("weigh-thing", WeighRequest(thing=b"a", model="shout"))

    with_store(scenario, "shout:1", "weigh-thing:1", **LAZY)


def test_settings_are_read_as_people_write_them(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "MODELS": "translation, opus:1",
        "DEFAULT_MODELS": "translation=opus,image-classification=vit",
        "PRELOAD": "",
        "MODEL_LIMITS": '{"opus": {"timeout_s": 5}}',
    }.items():
        monkeypatch.setenv(f"ATTENDANT_{name}", value)
    settings = Settings()
    assert settings.models == ("translation", "opus:1")
    assert settings.default_models == {"translation": "opus", "image-classification": "vit"}
    assert settings.preload == ()
    assert settings.of("opus").timeout_s == 5
    assert settings.of("translation") is settings
    monkeypatch.setenv("ATTENDANT_DEFAULT_MODELS", "opus")
    with pytest.raises(ValidationError, match="write it as a=b,c=d"):
        Settings()


def test_a_listing_tells_of_every_version() -> None:
    async def scenario(engine: Engine, made: Store) -> None:
        made.broken.add("other:2")
        with pytest.raises(Unavailable):
            await ask(engine, "other")
        told = [
            (one.name, one.version, one.is_current, one.is_default, one.state)
            for one in engine.listing().models
        ]
        assert told == [
            ("other", "2", True, False, "failed"),
            ("other", "1", False, False, "not loaded"),
            ("shout", "1", True, True, "loaded"),
        ]
        assert "decoder.onnx" in engine.listing().models[0].reason
        assert engine.listing().budget_bytes is None

    with_store(scenario, "shout:1", "other:1", "other:2")


def test_what_a_model_leaves_behind_is_the_systems_again() -> None:
    async def scenario(engine: Engine, made: Store) -> None:
        await ask(engine)
        left = weakref.ref(engine.find("shout").loaded)
        await ask(engine, "other")
        assert loaded(engine) == {"other:1"}
        assert left() is None

    with_store(scenario, "shout:1", "other:1", **ONE)


def test_a_full_queue_is_foreseen_only_where_one_model_can_be_meant() -> None:
    async def scenario(engine: Engine, made: Store) -> None:
        await ask(engine)
        full = Overloaded("the queue of shout is full")
        model = engine.find("shout").loaded
        assert model is not None
        model.foresee = Mock(side_effect=full)  # type: ignore[method-assign]
        if len(engine.models.registry.names("shout")) > 1:
            engine.foresee("shout", timeout_s=1)
            assert await ask(engine, "other") == "other:1"
        else:
            with pytest.raises(Overloaded):
                engine.foresee("shout", timeout_s=1)

    with_store(scenario, "shout:1")
    with_store(scenario, "shout:1", "other:1")
