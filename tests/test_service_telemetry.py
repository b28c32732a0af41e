"""What happens to requests → the counts and times of each task, and no series but the expected."""

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest
from fake_door import HELLO, Door, with_door
from fake_models import shouting, with_engine
from fake_tasks import HttpEngine, ShoutRequest
from starlette.testclient import TestClient

from service import telemetry
from service.engine import Engine
from service.errors import DeadlineExceeded, Overloaded, Problem, Unavailable
from service.gate import Gate
from service.http import TaskDoor, pages
from service.schema import Timings
from service.telemetry import REGISTRY


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
    telemetry.ready("outcomes", True)
    labels = {"task": "outcomes", "door": door}
    before = value("requests_total", **labels, code=code)
    timed = value("request_duration_seconds_count", **labels)
    with pytest.raises(type(error)), telemetry.observed("outcomes", door):
        raise error
    assert value("requests_total", **labels, code=code) == before + 1
    assert value("request_duration_seconds_count", **labels) == timed + 1
    assert value("requests_in_flight", **labels) == 0


def test_requests_in_flight_are_those_that_are_not_answered() -> None:
    labels = {"task": "flying", "door": "http"}
    with telemetry.observed("flying", "http"):
        with telemetry.observed("flying", "http"):
            assert value("requests_in_flight", **labels) == 2
        assert value("requests_in_flight", **labels) == 1
    assert value("requests_in_flight", **labels) == 0


def test_what_the_engine_reports_is_counted() -> None:
    telemetry.ready("counted", True)
    telemetry.batch("counted", 3)
    telemetry.step("counted", 2)
    telemetry.step("counted", 4)
    telemetry.tokens("counted", 7)
    telemetry.queue("counted", 11)
    telemetry.rejected("counted", "deadline")
    telemetry.cancelled("counted", "running")
    telemetry.stages("counted", Timings(queue_ms=250))
    assert value("model_ready", task="counted") == 1
    assert value("batch_items_sum", task="counted") == 3
    assert value("step_rows_sum", task="counted") == 6
    assert value("step_rows_count", task="counted") == 2
    assert value("tokens_total", task="counted") == 7
    assert value("queue_cost", task="counted") == 11
    assert value("rejected_total", task="counted", reason="deadline") == 1
    assert value("rejected_total", task="counted", reason="queue") == 0
    assert value("cancelled_total", task="counted", stage="running") == 1
    assert value("stage_duration_seconds_sum", task="counted", stage="queue") == 0.25


def test_no_request_makes_a_series_once_its_task_is_known() -> None:
    engine = HttpEngine()
    client = TestClient(http_door(engine), raise_server_exceptions=False)
    for name in engine.tasks:
        telemetry.ready(name, True)
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


def test_the_model_of_a_task_is_named_and_the_one_before_it_is_gone() -> None:
    for version in ("shout:1", "shout:2"):
        telemetry.model("shout", version)
    assert ("attendant_model_info", ("model", "shout:2"), ("task", "shout")) in series()
    assert ("attendant_model_info", ("model", "shout:1"), ("task", "shout")) not in series()
    telemetry.ready("shout", False)
    assert ("attendant_model_info", ("model", "shout:2"), ("task", "shout")) not in series()


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


def test_http_tells_the_stage_times_in_a_header_too() -> None:
    client = TestClient(http_door(HttpEngine()))
    reply = client.post("/shout", json={"text": "a"})
    told = dict(entry.split(";dur=") for entry in reply.headers["server-timing"].split(", "))
    assert list(told) == ["preprocess", "queue", "compute", "postprocess"]
    assert {f"{name}_ms": float(dur) for name, dur in told.items()} == reply.json()["timings_ms"]


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

    telemetry.ready("flying", True)
    labels = {"task": "flying", "door": "http"}
    before = value("requests_total", **labels, code="cancelled")
    asyncio.run(scenario())
    assert value("requests_in_flight", **labels) == 0
    assert value("requests_total", **labels, code="cancelled") == before + 1
