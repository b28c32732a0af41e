"""The simulation of queues agrees with what is known of them; the sizing adds up and is written."""

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from loadtests.scale.__main__ import BEGIN, END, REPORT, app
from loadtests.scale.fleet import Fleet, Pace
from loadtests.scale.sizing import Prices, sized, table
from loadtests.scale.validate import Held, Worker, beside, beyond, validated
from loadtests.serving.bench.search import Terms, Trial

PAGE = Path(__file__).parents[1] / "docs" / "deploy-cluster.md"
SINGLE = Pace(fixed_ms=10, per_item_ms=0, rows=1, threads=1)
BATCHED = Pace(fixed_ms=10, per_item_ms=2, rows=16, threads=2)


@pytest.mark.parametrize("used", [0.3, 0.6, 0.8])
def test_one_worker_without_batches_waits_as_pollaczek_and_khinchine_say(used: float) -> None:
    service_s = SINGLE.batch_s(1)
    expected_s = service_s + used * service_s / (2 * (1 - used))  # the mean of M/D/1
    seen_s = Fleet(SINGLE, 1, 1).latencies_s(used / service_s, requests=60_000)
    assert np.mean(seen_s) == pytest.approx(expected_s, rel=0.08)


def test_two_workers_on_the_core_of_one_are_no_more_than_one() -> None:
    alone = Fleet(SINGLE, 1, 1).highest_per_s(100)
    assert Fleet(SINGLE, 2, 1).highest_per_s(100) < 1.05 * alone
    assert Fleet(SINGLE, 2, 2).highest_per_s(100) > 1.95 * alone


def test_nobody_is_faster_than_alone_and_the_bound_is_kept() -> None:
    fleet = Fleet(BATCHED, 4, 8)
    rate = fleet.highest_per_s(200)
    seen_s = fleet.latencies_s(rate)
    assert seen_s.min() >= BATCHED.batch_s(1) - 1e-9
    assert np.quantile(seen_s, 0.99) <= 0.2
    assert 0 < rate < 4 * BATCHED.capacity_per_s


def test_who_sends_to_anybody_holds_less_than_who_sends_to_the_idlest() -> None:
    least, lots = (Fleet(SINGLE, 8, 8, how).highest_per_s(40) for how in ("least", "random"))
    assert lots < 0.9 * least


def test_a_caller_on_the_same_cores_takes_its_share_of_them() -> None:
    alone = Fleet(SINGLE, 2, 2).highest_per_s(100)
    shared = Fleet(SINGLE, 2, 2, caller_s=SINGLE.batch_s(1)).highest_per_s(100)
    assert shared == pytest.approx(alone / 2, rel=0.05)  # each request takes twice as much


TERMS = Terms(bound_s=0.1, duration_s=1, seed=0)
WORKER = Worker(alone_ms=10, rate_per_s=400, cores=0.5)


def seen(rate_per_s: float) -> Held:
    trial = Trial(rate_per_s, 500, 0, 20, 90, 1, held=True)
    return Held(trial, 0.0, [trial, trial], 300 << 20)


def test_a_simulation_is_held_against_what_was_measured() -> None:
    simulated = WORKER.fleet(1, "random").highest_per_s(100)
    near, memory, *latencies = beside("t", 1, WORKER, seen(simulated / 1.1), TERMS)
    far = beside("t", 1, WORKER, seen(simulated / 1.3), TERMS)[0]
    assert (near.met, far.met) == ("yes", "no")
    assert "+10%" in near.saw
    assert memory.saw == "300 MiB"
    assert [row.tried for row in latencies] == ["t, 1 worker: p99 at 50% of it",
                                                "t, 1 worker: p99 at 80% of it"]  # fmt: skip


def test_workers_with_cores_of_their_own_hold_about_as_many_times_more() -> None:
    rows = beyond("t", WORKER, TERMS)
    shares = [float(row.saw.rpartition(" ")[2].removesuffix("%")) for row in rows]
    assert all(95 < share < 130 for share in shares)


def test_a_real_worker_is_timed_asked_and_simulated() -> None:
    quick = Terms(bound_s=0.5, duration_s=1, seed=0, precision=2, percentile=0.5)
    rows = validated("graph-classification", quick, [1])
    assert [row.tried.partition(", ")[2] for row in rows[:2]] == [
        "a worker", "1 worker: highest rate",
    ]  # fmt: skip
    assert len(rows) == 1 + 4 + 4


def test_a_pace_is_what_was_measured() -> None:
    pace = Pace.measured(alone_ms=12, rate_per_s=400, rows=16, threads=2)
    assert pace.batch_s(1) == pytest.approx(0.012)
    assert pace.capacity_per_s == pytest.approx(400)
    assert pace.on(2) == pace
    assert pace.on(1).batch_s(8) == pytest.approx(pace.batch_s(8) / (0.1 + 0.45))


def test_sizes_add_up() -> None:
    prices = Prices(pod_cores=2, pod_gib=2, core_hour=0.05, used=0.5, spare=1)
    line = sized("translation", 100, 1_000, prices)
    assert line[3:6] == ("21", "42", "42 GiB")
    assert line[6] == "$1,533"
    assert float(line[7].removeprefix("$")) == pytest.approx(1_533 / 2_628, abs=0.01)


def test_the_page_shows_what_the_report_gives() -> None:
    report = json.loads(REPORT.read_text())
    text = PAGE.read_text(encoding="utf-8")
    assert table(report, [1_000, 100_000], Prices()) in text.partition(BEGIN)[2].partition(END)[0]


def test_the_commands_print_and_write_their_tables(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    assert CliRunner().invoke(app, ["size", "--page", str(page)]).exit_code == 0
    assert page.read_text().startswith(f"before\n{BEGIN}\n| task |")
    assert page.read_text().endswith(f"{END}\nafter\n")
    page.write_text("no marks")
    assert CliRunner().invoke(app, ["size", "--page", str(page)]).exit_code == 2
    options = ["--alone-ms", "12", "--rate-per-s", "400", "--bound-ms", "400", "--worker", "1"]
    done = CliRunner().invoke(app, ["simulate", *options, "--measured", "1=380", "--worker", "2"])
    assert done.exit_code == 0
    lines = done.output.splitlines()
    assert lines[2].startswith("| 1 | least | ")
    assert "380/s" in lines[2]
    assert [line.split("|")[2].strip() for line in lines[3:]] == ["least", "random"]
