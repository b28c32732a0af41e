"""figures → what is over the budget; recorded requests → figures."""

from dataclasses import replace
from io import StringIO

import pytest
from rich.console import Console

from loadtests.budgets import BUDGETS, Budget, Door, Figures, excesses
from loadtests.report import Recorder, percentile, table
from service.tasks import task_names

BUDGET = Budget(p99_ms=100, requests_per_s=10)
GOOD = Figures("shout", Door.REST, 1_000, 0, 50.0, p50_ms=5, p95_ms=50, p99_ms=100)


def test_figures_within_the_budget_pass() -> None:
    assert excesses(GOOD, BUDGET) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"failures": 1, "fault": "WrongAnswer: no"}, ["1 of 1000 failed", "WrongAnswer: no"]),
        ({"p99_ms": 100.5}, ["p99", "100 ms allowed"]),
        ({"requests_per_s": 9.9}, ["9.9 requests/s", "10.0 wanted"]),
        ({"requests": 0}, ["no right answer"]),
        ({"failures": 1_000}, ["1000 of 1000 failed", "no right answer"]),
    ],
)
def test_each_figure_over_the_budget_is_named(change: dict[str, float], words: list[str]) -> None:
    told = "; ".join(excesses(replace(GOOD, **change), BUDGET))
    assert all(word in told for word in words), told


def test_a_budget_may_allow_failures() -> None:
    lenient = replace(BUDGET, failure_ratio=0.01)
    assert excesses(replace(GOOD, failures=10), lenient) == []
    assert excesses(replace(GOOD, failures=11), lenient)


def test_budgets_are_for_tasks_that_exist() -> None:
    assert set(BUDGETS) <= {name.replace("_", "-") for name in task_names()}


def test_percentiles_are_times_that_were_measured() -> None:
    times_ms = [float(time_ms) for time_ms in range(1, 101)]
    assert [percentile(times_ms, ratio) for ratio in (0.5, 0.95, 0.99)] == [50.0, 95.0, 99.0]
    assert percentile([7.0], 0.99) == 7.0
    assert percentile([], 0.99) == 0.0


def test_failures_are_counted_apart_from_the_times() -> None:
    recorder = Recorder()
    for time_ms in (10.0, 20.0):
        recorder.record(request_type="REST", name="shout", response_time=time_ms, exception=None)
    recorder.record(
        request_type="REST", name="shout", response_time=0.1, exception=ValueError("no")
    )
    figures = recorder.figures("shout", Door.REST)
    assert (figures.requests, figures.failures, figures.p50_ms) == (3, 1, 10.0)
    assert figures.fault == "ValueError: no"
    assert recorder.figures("shout", Door.GRPC).requests == 0


def test_the_table_has_a_row_per_task_and_door() -> None:
    rows = [GOOD, replace(GOOD, door=Door.GRPC, p99_ms=250)]
    page = StringIO()
    Console(width=120, file=page, force_terminal=True).print(
        table(rows, {("shout", Door.GRPC): ["p99"]})
    )
    text = page.getvalue()
    assert text.count("shout") == 2
    red = [line for line in text.splitlines() if "\x1b[31m" in line]
    assert ["250.0" in line for line in red] == [True]
