"""What the proofs of serving make of what they saw: growth, tables, exit codes, the page."""

from pathlib import Path

import pytest
import typer

from loadtests.door import Door
from loadtests.scenarios import scenario
from loadtests.serving.bench import batching, overload
from loadtests.serving.calls import Kind, Reply
from loadtests.serving.chaos import reload
from loadtests.serving.goldens import Golden
from loadtests.serving.growth import BOUNDS, Size, grown
from loadtests.serving.open_load import Sample
from loadtests.serving.page import COMMANDS, page
from loadtests.serving.verdict import Record, Records, Row, conclude, judged, read
from service.tasks import task


def sizes(**leaks: float) -> list[Size]:
    """A hundred samples of a server that gains so much of something each time."""
    start = {"rss_mib": 300.0, "fds": 40.0, "threads": 20.0, "series": 100.0}
    return [
        Size(
            float(at),
            **{name: value + leaks.get(name, 0) * at for name, value in start.items()},
        )
        for at in range(100)
    ]


@pytest.mark.parametrize("name", BOUNDS)
def test_a_leak_is_over_the_bound_and_a_steady_server_is_not(name: str) -> None:
    def growth(samples: list[Size]) -> float:
        began, ended = grown(samples, name)
        return ended - began

    assert growth(sizes()) == 0
    assert growth(sizes(**{name: 1.0})) > BOUNDS[name].most


def test_connections_that_come_and_go_are_no_leak() -> None:
    busy = [Size(at, 300, 40 + at % 7, 20, 100) for at in range(100)]
    began, ended = grown(busy, "fds")
    assert ended == began == 40


def replies(**changes: list[Sample]) -> dict[str, Row]:
    good = [Sample(i, 0.1 * i, 0.1 * i, 0.1 * i + 0.2, Reply(Kind.ANSWERED)) for i in range(100)]
    refused = [
        Sample(i, 0.1 * i, 0.1 * i, 0.1 * i + 0.01, Reply(Kind.REFUSED, detail="429 x"))
        for i in range(200)
    ]
    seen = changes.get("good", good) + changes.get("refused", refused) + changes.get("more", [])
    rows = overload.rows_of(seen, most_per_s=10.0, duration_s=10.0, bound_s=1.0)
    return {row.tried.removeprefix("overload: "): row for row in rows}


def test_an_overload_that_is_well_met_misses_nothing() -> None:
    assert [row.tried for row in replies().values() if row.met == "no"] == []


def test_an_overload_is_missed_by_slow_answers_slow_refusals_and_errors() -> None:
    late = [Sample(i, 0.0, 0.0, 2.0, Reply(Kind.ANSWERED)) for i in range(100)]
    rows = replies(good=late)
    assert rows["goodput"].met == rows["p99 of what was accepted"].met == "no"
    slow = [Sample(0, 0.0, 0.0, 0.2, Reply(Kind.REFUSED, detail="429 x"))]
    assert replies(refused=slow)["p99 of refusals"].met == "no"
    broken = [Sample(0, 0.0, 0.0, 0.2, Reply(Kind.FAILED, detail="500 x"))]
    assert replies(more=broken)["5xx"].met == "no"


def test_batching_is_held_against_each_server_that_ran() -> None:
    rows = batching.rows_of({batching.CONTINUOUS: 30.0, batching.REQUEST: 16.0})
    assert [(row.saw, row.met) for row in rows] == [("1.88x", "no")]
    assert batching.rows_of({batching.CONTINUOUS: 32.0, batching.REQUEST: 16.0})[0].met == "yes"


@pytest.mark.parametrize(
    ("rows", "code"),
    [
        ([judged("a", "1", "1", met=True), Row(tried="b", saw="c", met="skipped")], 0),
        ([judged("a", "1", "1", met=True), judged("b", "2", "1", met=False)], 1),
        ([], 1),
    ],
)
def test_a_miss_and_nothing_at_all_exit_with_1(rows: list[Row], code: int) -> None:
    with pytest.raises(typer.Exit) as ended:
        conclude("soak", rows, {}, record=None)
    assert ended.value.exit_code == code


def test_what_is_recorded_is_on_the_page(tmp_path: Path) -> None:
    file = tmp_path / "serving.json"
    rows = [judged("memory", "300 → 290", "50 | MiB", met=True)]
    with pytest.raises(typer.Exit):
        conclude("soak", rows, {"seed": 7}, record=file)
    written = page(read(file))
    assert "| memory | 300 → 290 | 50 \\| MiB | yes |" in written
    assert "seed 7" in written
    assert written.count("Not recorded yet.") == len(COMMANDS) - 1


def test_a_command_that_the_page_does_not_know_is_on_it_too() -> None:
    record = Record(date="2026-01-01", machine="x", terms={}, rows=[Row(tried="t", saw="s")])
    assert "## make strange" in page(Records(commands={"strange": record}))


def test_the_parts_of_a_command_are_recorded_apart_and_stand_together() -> None:
    parts = {
        f"bench-serving, {part}": Record(
            date="2026-01-01", machine="x", terms={}, rows=[Row(tried=part, saw="s")]
        )
        for part in ("batching", "speech")
    }
    written = page(Records(commands=parts))
    assert written.count("## make bench-serving") == 1
    assert "| batching | s |" in written
    assert "| speech | s |" in written


def test_the_page_in_docs_is_what_its_record_gives() -> None:
    docs = Path(__file__).parents[1] / "docs"
    assert (docs / "serving.md").read_text() == page(read(docs / "serving.json"))


def versions(*answers: tuple[str, int]) -> dict[str, Row]:
    """What is said of replies (model, value) where the old one answers 1 and the new one 2."""

    def golden(model: str, value: int) -> Golden:
        return Golden(Door.REST, scenario(task("translation")), {"model": model, "value": value})

    samples = [
        Sample(index, 0.0, 0.0, 0.1, Reply(Kind.ANSWERED, answer={"model": model, "value": value}))
        for index, (model, value) in enumerate(answers)
    ]
    rows = reload.rows_of(samples, [golden("a:1", 1)], [golden("a:2", 2)])
    return {row.tried.removeprefix("hot reload: "): row for row in rows}


def test_a_reload_is_one_where_each_answer_is_of_the_version_that_it_names() -> None:
    met = {name: row.met for name, row in versions(("a:1", 1), ("a:2", 2)).items()}
    assert set(met.values()) == {"yes"}
    for mixed in (("a:2", 1), ("a:3", 2)):
        row = versions(("a:1", 1), ("a:2", 2), mixed)["answers wholly of one version"]
        assert "1 of neither" in row.saw
        assert row.met != "yes"


def test_a_reload_that_nobody_saw_is_none() -> None:
    assert versions(("a:1", 1))["answers wholly of one version"].met != "yes"
