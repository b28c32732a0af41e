"""What a run leaves behind: histograms that merge without loss, files that are read back whole."""

import json
from pathlib import Path
from random import Random

import pytest
from pydantic import ValidationError

from loadtests.histogram import Histogram
from loadtests.peers.record import Machine
from loadtests.results import Cell, Fault, Faults, Phase, Run, Search, Server, Terms, read, write

MACHINE = Machine(cpu="a cpu", cores=2, memory_gib=8, flags=[], system="Linux", python="3.11")


def times(seed: int, count: int = 2_000) -> list[float]:
    random = Random(seed)
    return [random.expovariate(1 / 20) for _ in range(count)]


def histogram(times_ms: list[float]) -> Histogram:
    made = Histogram()
    for time_ms in times_ms:
        made.record_ms(time_ms)
    return made


def a_run() -> Run:
    cell = Cell(task="translation", door="REST", due=2_001, sent=2_001, answered=2_000)
    cell.latency.add(histogram(times(0)))
    cell.faults[Fault.WRONG] = Faults(count=1, first="Hund is not Katze")
    terms = Terms(
        scenario="server", mix={"translation REST": 1}, payloads="examples", seed=0, duration_s=10
    )
    return Run(
        began="2026-01-01T00:00:00+00:00",
        terms=terms,
        machine=MACHINE,
        server=Server(addresses={"REST": "http://127.0.0.1:3000"}),
        phases=[Phase(name="load", began_s=0, duration_s=10, rate_per_s=200, cells=[cell])],
    )


def test_percentiles_are_within_a_thousandth_of_the_sorted_times() -> None:
    drawn = times(1)
    made = histogram(drawn)
    for ratio in (0.5, 0.9, 0.99, 0.999):
        exact = sorted(drawn)[round(ratio * len(drawn)) - 1]
        assert made.percentile_ms(ratio) == pytest.approx(exact, rel=2e-3)


def test_two_halves_merge_to_the_whole_also_by_way_of_text() -> None:
    first, second = times(1), times(2)
    half = Histogram(histogram(first).encode())
    half.add(Histogram(histogram(second).encode()))
    assert half == histogram(first + second)


def test_a_time_longer_than_an_hour_counts_as_an_hour() -> None:
    made = histogram([5e9])
    assert made.count == 1
    assert made.max_ms == pytest.approx(3_600_000, rel=1e-3)


def test_text_that_is_no_histogram_is_refused() -> None:
    with pytest.raises(ValueError, match="HDR"):
        Histogram("abc")


def test_cells_of_two_generators_add_up_and_keep_the_first_message() -> None:
    one, other = a_run().cells()[0], a_run().cells()[0]
    other.faults = {Fault.WRONG: Faults(count=2, first="later"), Fault.LOST: Faults(count=1)}
    one.add(other)
    assert (one.due, one.answered, one.failed) == (4_002, 4_000, 4)
    assert one.faults[Fault.WRONG] == Faults(count=3, first="Hund is not Katze")
    assert one.misses(1e9) == 4, "an error is a miss, whatever the bound"


def test_a_run_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    write(a_run(), tmp_path / "run.json")
    assert read(tmp_path / "run.json") == a_run()


def test_a_search_is_told_from_a_run(tmp_path: Path) -> None:
    search = Search(
        began="", machine=MACHINE, server=Server(addresses={}), bounds_ms={"translation": 100},
        percentile=0.99, confidence=0.99, precision=1.1, seed=0, duration_s=10,
    )  # fmt: skip
    write(search, tmp_path / "search.json")
    assert read(tmp_path / "search.json") == search


@pytest.mark.parametrize(
    ("name", "value"), [("began", 7), ("began_at", "now"), ("timeline", [{"at_s": "0"}])]
)
def test_a_file_with_a_strange_field_is_refused(name: str, value: object, tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    run = a_run().model_dump_json()
    path.write_text(json.dumps({**json.loads(run), name: value}))
    with pytest.raises(ValidationError, match=name):
        read(path)
