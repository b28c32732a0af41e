"""What happens to requests → the counts and times of each task, and no series but the expected."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from fake_door import HELLO, Door, with_door
from fake_models import shouting, with_engine
from fake_tasks import HttpEngine, ShoutRequest
from starlette.testclient import TestClient

from service import telemetry
from service.engine import Engine
from service.errors import DeadlineExceeded, NotFound, Overloaded, Problem, Unavailable
from service.gate import Gate
from service.http import TaskDoor, pages, server_timing
from service.schema import Timings
from service.telemetry import REGISTRY, Labels


def http_door(engine: Any) -> TaskDoor:
    return TaskDoor(engine, Gate(), pages(engine))


def value(name: str, **labels: str) -> float:
    """A sample as it would be scraped now; fails if there is no such series."""
    found = REGISTRY.get_sample_value(f"attendant_{name}", labels)
    assert found is not None, f"{name} {labels}"
    return found


def series() -> set[Any]:
    samples = (sample for family in REGISTRY.collect() for sample in family.samples)
    return {(sample.name, *sorted(sample.labels.items())) for sample in samples}


OUTCOMES: list[tuple[BaseException, str]] = [
    (Overloaded("later"), "resource_exhausted"),
    (Unavailable("not loaded"), "unavailable"),
    (DeadlineExceeded("late"), "deadline_exceeded"),
    (Problem("a fault"), "internal"),
    (asyncio.CancelledError(), "cancelled"),
    (ZeroDivisionError("a bug"), "internal"),
]


@pytest.mark.parametrize("door", ["http", "grpc"])
@pytest.mark.parametrize(("error", "code"), OUTCOMES)
def test_a_request_is_counted_by_its_outcome(error: BaseException, code: str, door: Any) -> None:
    telemetry.ready(Labels("outcomes", "own"), True)
    labels = {"task": "outcomes", "model": "own", "door": door}
    before = value("requests_total", **labels, code=code)
    timed = value("request_duration_seconds_count", **labels)
    with suppress(type(error)), telemetry.observed("outcomes", door):
        telemetry.asks(Labels("outcomes", "own"))
        raise error
    assert value("requests_total", **labels, code=code) == before + 1
    assert value("request_duration_seconds_count", **labels) == timed + 1
    assert value("requests_in_flight", task="outcomes", door=door) == 0


def test_a_request_that_names_no_model_which_there_is_counts_for_none() -> None:
    telemetry.ready(Labels("outcomes", "own"), True)
    labels = {"task": "outcomes", "model": "", "door": "http", "code": "not_found"}
    before = value("requests_total", **labels)
    with pytest.raises(NotFound), telemetry.observed("outcomes", "http"):
        raise NotFound("there is no such model")
    assert value("requests_total", **labels) == before + 1


def test_requests_in_flight_are_those_that_are_not_answered() -> None:
    labels = {"task": "flying", "door": "http"}
    with telemetry.observed("flying", "http"):
        with telemetry.observed("flying", "http"):
            assert value("requests_in_flight", **labels) == 2
        assert value("requests_in_flight", **labels) == 1
    assert value("requests_in_flight", **labels) == 0


def test_what_the_engine_reports_is_counted() -> None:
    labels = Labels("counted", "own")
    of = labels._asdict()
    telemetry.ready(labels, True)
    telemetry.batch(labels, 3)
    telemetry.step(labels, 2)
    telemetry.step(labels, 4)
    telemetry.tokens(labels, 7)
    telemetry.queue(labels, 14)
    telemetry.queue(labels, -3)
    telemetry.rejected(labels, "deadline")
    telemetry.cancelled(labels, "running")
    telemetry.stages(labels, Timings(queue_ms=250))
    assert value("model_ready", **of) == 1
    assert value("batch_items_sum", **of) == 3
    assert value("step_rows_sum", **of) == 6
    assert value("step_rows_count", **of) == 2
    assert value("tokens_total", **of) == 7
    assert value("queue_cost", **of) == 11
    assert value("rejected_total", **of, reason="deadline") == 1
    assert value("rejected_total", **of, reason="queue") == 0
    assert value("cancelled_total", **of, stage="running") == 1
    assert value("stage_duration_seconds_sum", **of, stage="queue") == 0.25


def test_models_that_come_and_go_are_counted() -> None:
    labels = Labels("moving", "own")
    of = labels._asdict()
    for version in ("1", "2"):
        telemetry.loaded(labels, version, 100)
    telemetry.not_loaded(labels)
    assert value("model_bytes", **of) == 200
    telemetry.unloaded(labels, "1", 100)
    assert value("model_bytes", **of) == 100
    assert value("model_loads_total", **of, outcome="ok") == 2
    assert value("model_loads_total", **of, outcome="failed") == 1
    assert value("model_unloads_total", **of) == 1
    assert value("model_info", **of, version="2") == 1
    telemetry.unloaded(labels, "2", 100)
    assert not {one for one in series() if ("task", "moving") in one and "info" in one[0]}


def test_no_request_makes_a_series_once_its_task_is_known() -> None:
    engine = HttpEngine()
    client = TestClient(http_door(engine), raise_server_exceptions=False)
    for name in engine.tasks:
        telemetry.ready(Labels(name, ""), True)
    before = series()
    client.post("/shout", json={"text": "a"})
    client.post("/shout", json={"text": 5})
    for error, _ in OUTCOMES[:-2]:
        assert isinstance(error, Problem)
        engine.problem = error
        client.post("/shout", json={"text": "a"})
    for path in range(100):
        assert client.get(f"/wp-admin/{path}.php?x={path}").status_code == 404
        client.request("PUT", f"/shout{path}", headers={"traceparent": "x", f"x-{path}": "y"})
    assert series() == before


def test_the_process_is_measured() -> None:
    for name in ("resident_memory_bytes", "cpu_seconds_total", "open_fds"):
        assert (REGISTRY.get_sample_value(f"process_{name}") or 0) > 0


def test_stage_times_add_up_to_the_time_of_the_answer(tmp_path: Path) -> None:
    async def scenario(engine: Engine) -> None:
        await engine.load(engine.tasks["shout"], tmp_path)
        clock, rest_ms = asyncio.get_running_loop().time, []
        for _ in range(5):
            began_s = clock()
            answer = await engine.answer("shout", ShoutRequest(text="a"))
            took_ms = (clock() - began_s) * 1e3
            rest_ms.append(took_ms - sum(stage_ms for _, stage_ms in answer.timings_ms))
        assert min(rest_ms) > -0.01
        assert min(rest_ms) < 2, "time that no stage accounts for"

    with_engine(scenario, shouting())


def test_http_tells_the_stages_that_a_request_had_in_a_header_too() -> None:
    timings = Timings(queue_ms=1.5, decode_ms=20)
    assert server_timing(timings) == {"server-timing": "queue;dur=1.5, decode;dur=20.0"}
    reply = TestClient(http_door(HttpEngine())).post("/shout", json={"text": "a"})
    assert "server-timing" in reply.headers


def test_grpc_tells_the_stage_times() -> None:
    async def scenario(door: Door) -> None:
        told = (await door.call("Shout", HELLO)).timings_ms
        assert [field.name for field in told.DESCRIPTOR.fields] == [*Timings.model_fields]

    with_door(scenario)


def test_a_stream_that_is_left_is_cancelled_from_whatever_context() -> None:
    async def stream() -> AsyncGenerator[int, None]:
        with telemetry.observed("flying", "http"):
            yield 1
            yield 2

    async def scenario() -> None:
        items = stream()
        await asyncio.create_task(anext(items))  # type: ignore[arg-type]
        await asyncio.create_task(items.aclose())

    labels = {"task": "flying", "model": "", "door": "http"}
    with telemetry.observed("flying", "http"):
        pass  # its series are there from now on
    before = value("requests_total", **labels, code="cancelled")
    asyncio.run(scenario())
    assert value("requests_in_flight", task="flying", door="http") == 0
    assert value("requests_total", **labels, code="cancelled") == before + 1
