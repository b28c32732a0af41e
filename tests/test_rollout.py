"""Canaries, shadows and the way back: shares are kept, and no request fails or waits for them."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from fake_store import Store, with_store
from fake_tasks import ShoutRequest
from prometheus_client import generate_latest
from typer.testing import CliRunner

from service import repository, store
from service.__main__ import app
from service.engine import Engine
from service.rollout import routes
from service.rollout.routes import Route
from service.schema import ResponseModel
from service.telemetry import REGISTRY

ASKED = 400


@pytest.fixture(autouse=True)
def looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repository, "LOOK_S", 0.01)


def counted(metric: str, *labels: str) -> float:
    """The sum of a counter's series that have all of these labels, as they are exposed."""
    lines = generate_latest(REGISTRY).decode().splitlines()
    own = [one for one in lines if one.startswith(metric + "{") and all(x in one for x in labels)]
    return sum(float(one.split()[-1]) for one in own)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.005)


async def answers(engine: Engine, model: str = "", times: int = ASKED) -> Counter[str]:
    request = ShoutRequest(text="hi", model=model)
    return Counter([(await engine.answer("shout", request)).model for _ in range(times)])


def with_route(
    scenario: Callable[[Engine, Store], Awaitable[Any]], route: Route, *tags: str, **settings: Any
) -> None:
    routes.write({"shout": route})
    with_store(scenario, *(tags or ("shout:1", "shout:2")), **settings)


def test_a_candidate_answers_its_share_and_the_same_one_every_time() -> None:
    found: list[Counter[str]] = []

    async def scenario(engine: Engine, made: Store) -> None:
        found.append(await answers(engine))

    for _ in range(2):
        with_route(scenario, Route(stable="1", candidate="2", weight=0.1))
    assert found[0] == found[1]
    assert 0.05 * ASKED < found[0]["shout:2"] < 0.15 * ASKED
    assert found[0].total() == ASKED


def test_who_names_a_version_gets_that_one_from_the_copy_that_is_there() -> None:
    async def scenario(engine: Engine, made: Store) -> None:
        assert set(await answers(engine, "shout:1", 20)) == {"shout:1"}
        assert set(await answers(engine, "shout:2", 20)) == {"shout:2"}
        assert made.opened == {"shout:1": 1, "shout:2": 1}

    with_route(scenario, Route(stable="1", candidate="2", weight=0.5))


def test_a_stable_version_stays_whatever_newer_ones_the_store_gets() -> None:
    async def scenario(engine: Engine, made: Store) -> None:
        made.add("shout:3")
        await engine.models.reload()
        assert set(await answers(engine)) == {"shout:1"}

    with_route(scenario, Route(stable="1"))


def test_routes_are_obeyed_under_load_and_no_request_fails() -> None:
    async def scenario(engine: Engine, made: Store) -> None:
        seen: set[str] = set()

        async def load() -> None:
            while True:
                seen.update(await answers(engine, times=1))

        async def only(*expected: str) -> None:
            async def settled() -> set[str]:
                seen.clear()
                await asyncio.sleep(0.05)
                return set(seen)

            async with asyncio.timeout(10):
                while await settled() != set(expected):
                    pass

        loads = [asyncio.create_task(load()) for _ in range(4)]
        await only("shout:2")
        routes.write({"shout": Route(stable="1", candidate="2", weight=0.5)})
        await only("shout:1", "shout:2")
        routes.write({"shout": Route(stable="1")})
        await only("shout:1")
        routes.write({})
        await only("shout:2")
        assert not any(one.done() for one in loads), "a request failed"
        for one in loads:
            one.cancel()
        assert not engine.models.registry.canaries

    with_store(scenario, "shout:1", "shout:2")


def test_a_shadow_is_computed_by_the_candidate_and_counted_as_nobodys() -> None:
    async def scenario(engine: Engine, made: Store) -> None:
        before = counted("attendant_shadows_total", 'model="shout:2"', 'outcome="ok"')
        asked = counted("attendant_requests_total")
        for _ in range(10):
            assert await answers(engine, times=1) == {"shout:1": 1}
            await until(lambda: not engine.models.shadows._running)
        after = counted("attendant_shadows_total", 'model="shout:2"', 'outcome="ok"')
        assert after == before + 10
        assert counted("attendant_requests_total") == asked
        await answers(engine, "shout:1", 5)
        assert not engine.models.shadows._running, "who names a version is not shadowed"

    with_route(scenario, Route(stable="1", candidate="2", shadow=1.0))


def test_a_shadow_that_fails_or_hangs_costs_the_request_nothing() -> None:
    async def scenario(engine: Engine, made: Store) -> None:
        loaded = engine.models.registry.canaries["shout"].served.loaded
        assert loaded is not None
        outcome = 'outcome="failed"'

        async def fails(*_: Any, **__: Any) -> ResponseModel:
            raise ValueError("a fault of the candidate")

        loaded.answer = fails  # type: ignore[method-assign]
        failed = counted("attendant_shadows_total", outcome)
        assert (await answers(engine, times=3)).total() == 3
        await until(lambda: counted("attendant_shadows_total", outcome) == failed + 3)

        async def hangs(*_: Any, **__: Any) -> ResponseModel:
            await asyncio.sleep(60)
            raise AssertionError

        loaded.answer = hangs  # type: ignore[method-assign]
        dropped = counted("attendant_shadows_total", 'outcome="dropped"')
        assert (await answers(engine, times=10)).total() == 10
        assert counted("attendant_shadows_total", 'outcome="dropped"') == dropped + 6

    with_route(scenario, Route(stable="1", candidate="2", shadow=1.0))


def test_where_somebody_waits_no_shadow_begins() -> None:
    async def scenario(engine: Engine, made: Store) -> None:
        stable = engine.models.registry.named("shout")
        assert stable.loaded is not None
        dropped = counted("attendant_shadows_total", 'outcome="dropped"')
        stable.loaded.lane.queue.cost += 1
        await answers(engine, times=1)
        stable.loaded.lane.queue.cost -= 1
        assert counted("attendant_shadows_total", 'outcome="dropped"') == dropped + 1

    with_route(scenario, Route(stable="1", candidate="2", shadow=1.0))


def test_a_candidate_that_does_not_open_gets_no_requests() -> None:
    async def scenario(engine: Engine, made: Store) -> None:
        made.broken.add("shout:2")
        routes.write({"shout": Route(stable="1", candidate="2", weight=1.0)})
        await until(lambda: made.opened["shout:2"])
        assert set(await answers(engine, times=20)) == {"shout:1"}

    with_route(scenario, Route(stable="1"))


def test_a_file_of_nonsense_leaves_the_routes_as_they_were() -> None:
    async def scenario(engine: Engine, made: Store) -> None:
        for nonsense in (b"{", b'{"shout": {"stable": "1", "weight": 2}}', b"[]"):
            routes.path().write_bytes(nonsense)
            await asyncio.sleep(0.05)
            assert set(await answers(engine, times=20)) == {"shout:2"}

    with_route(scenario, Route(stable="1", candidate="2", weight=1.0))


@pytest.fixture
def three_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "tags", lambda name: ["m:3", "m:2", "m:1"] if name == "m" else [])


def say(*command: str) -> str:
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    return done.output


@pytest.mark.usefixtures("three_versions")
def test_the_commands_lead_there_and_back() -> None:
    assert "m: 2; candidate 3: 10.0%" in say("canary", "m:3", "--weight", "0.1")
    assert routes.read() == {"m": Route(stable="2", candidate="3", weight=0.1)}
    say("canary", "m:3", "--shadow", "0.5")
    assert routes.read() == {"m": Route(stable="2", candidate="3", shadow=0.5)}
    assert "m: 2, until" in say("rollback", "m")
    assert routes.read() == {"m": Route(stable="2")}
    assert "m: 1, until" in say("rollback", "m")
    say("canary", "m:2", "--weight", "0.2")
    say("promote", "m")
    assert routes.read() == {"m": Route(stable="2")}
    assert "the newest version, 3" in say("promote", "m")
    assert routes.read() == {}


@pytest.mark.usefixtures("three_versions")
@pytest.mark.parametrize(
    ("command", "why"),
    [
        (("canary", "n:1", "--weight", "0.1"), "the store has no model n"),
        (("canary", "m:9", "--weight", "0.1"), "m has no version '9'; there are 3, 2, 1"),
        (("canary", "m:3"), "say --weight, --shadow or both"),
        (("canary", "m:1", "--weight", "0.5"), "no other version beside it"),
        (("rollback", "m"), "no version of m before 1"),
        (("promote", "n"), "the store has no model n"),
    ],
)
def test_a_command_that_cannot_be_obeyed_says_why(command: tuple[str, ...], why: str) -> None:
    routes.write({"m": Route(stable="1")})
    done = CliRunner().invoke(app, command)
    assert (done.exit_code, why in done.output) == (1, True), done.output
    assert routes.read() == {"m": Route(stable="1")}
