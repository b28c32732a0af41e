"""Many models in one service: which one answers, how they are renewed, and what is told of them."""

import asyncio
from unittest.mock import Mock

import pytest
from fake_store import LAZY, SIZE_BYTES, TWO, Store, ask, loaded, slow, with_store
from fake_tasks import WeighRequest
from pydantic import ValidationError

from service.engine import Engine
from service.errors import (
    DeadlineExceeded,
    InvalidInput,
    NotFound,
    Overloaded,
    Unavailable,
)
from service.settings import Settings


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
