"""results, and older ones saved with their machine → what has become worse, better or neither."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, ValidationError
from scipy.stats import binom, fisher_exact

from loadtests.histogram import Histogram
from loadtests.peers.record import Machine
from loadtests.results import Cell, Run, Search, Server
from loadtests.validity import DOUBT
from loadtests.verdict.judge import PERCENTILES, TIMED, UNJUDGED, Met, Row

FOLDER = Path("loadtests/baselines")
ANYWHERE = {"127.0.0.1", "::1", "localhost"}


class BaselineError(Exception):
    """There is nothing to save, or what was saved cannot be read."""


class Baseline(BaseModel):
    """Valid results of one machine."""

    model_config = ConfigDict(extra="forbid")

    saved: str
    """The day, UTC."""
    machine: Machine
    runs: list[Run] = []
    searches: list[Search] = []


def name_of(machine: Machine) -> str:
    """The file in which the baseline of such a machine is looked for."""
    words = f"{machine.cpu} {machine.cores} cores {machine.memory_gib} gib {machine.system}"
    return re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-") + ".json"


def save(results: Sequence[Run | Search], folder: Path = FOLDER) -> Path:
    """Keep the results as what later ones are held against; BaselineError unless all are valid."""
    if not results:
        raise BaselineError("no results to save")
    for result in results:
        if result.void:
            raise BaselineError(f"a void result is no baseline: {'; '.join(result.void)}")
        if not same_machine(result.machine, results[0].machine):
            raise BaselineError("the results are from different machines")
    heavy: dict[str, object] = {"timeline": [], "samples": [], "batches": []}
    baseline = Baseline(
        saved=datetime.now(UTC).date().isoformat(),
        machine=results[0].machine,
        runs=[each.model_copy(update=heavy) for each in results if isinstance(each, Run)],
        searches=[
            each.model_copy(update={"found": [
                one.model_copy(update={"trials": []}) for one in each.found
            ]})
            for each in results if isinstance(each, Search)
        ],
    )  # fmt: skip
    path = folder / name_of(baseline.machine)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(baseline.model_dump_json(exclude_defaults=True) + "\n", encoding="utf-8")
    return path


def read(path: Path) -> Baseline:
    """Raises BaselineError for a file that is missing or no baseline."""
    try:
        return Baseline.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, ValidationError) as error:
        raise BaselineError(f"{path}: {error}") from error


def same_machine(one: Machine, other: Machine) -> bool:
    """Whether figures may be compared; another Python may be just what is to be compared."""
    return one.model_copy(update={"python": ""}) == other.model_copy(update={"python": ""})


def _hosts(server: Server) -> dict[str, str]:
    """Door → host, all names of this machine alike."""
    hosts = {
        door: urlsplit(address if "//" in address else f"//{address}").hostname or ""
        for door, address in server.addresses.items()
    }
    return {door: "" if host in ANYWHERE else host for door, host in hosts.items()}


def other_terms(now: Run, then: Run) -> list[str]:
    """What differs in how the two were taken, but for the seed."""
    was, is_ = (each.terms.model_dump(exclude={"seed"}) for each in (then, now))
    found = [f"{name} {was[name]} → {is_[name]}" for name in was if was[name] != is_[name]]
    return found if _hosts(now.server) == _hosts(then.server) else [*found, "another server host"]


def interval_ms(times: Histogram, ratio: float) -> tuple[float, float]:
    """Where the true percentile is in 99 % of runs: ranks that the binomial distribution gives."""
    count = times.count
    low, high = binom.ppf([DOUBT / 2, 1 - DOUBT / 2], count, ratio)
    return times.percentile_ms(max(low, 1) / count), times.percentile_ms(
        min(high + 1, count) / count
    )


def _times(subject: str, figure: str, now: Histogram, then: Histogram, tolerance: float) -> Row:
    ratio = PERCENTILES[figure]
    was_ms, is_ms = then.percentile_ms(ratio), now.percentile_ms(ratio)
    then_low, then_high = interval_ms(then, ratio)
    now_low, now_high = interval_ms(now, ratio)
    met: Met = "no" if now_low > then_high * (1 + tolerance) else "yes"
    why = "worse" if met == "no" else "no worse than noise and tolerance allow"
    if now_high < then_low * (1 - tolerance):
        why = "better"
    return Row(
        subject=subject,
        figure=f"{figure} against the baseline",
        saw=f"{is_ms:,.1f} ms, was {was_ms:,.1f} ({is_ms / was_ms - 1:+.0%})",
        wanted=f"≤ {tolerance:+.0%}",
        met=met,
        why=why,
    )


def _rate(subject: str, now: float | None, then: float | None, tolerance: float) -> list[Row]:
    if then is None:
        return []
    seen = now or 0.0
    return [
        Row(
            subject=subject,
            figure="rate against the baseline",
            saw=f"{seen:,.2f}/s, was {then:,.2f} ({seen / then - 1:+.0%})",
            wanted=f"≥ {-tolerance:+.0%}",
            met="yes" if seen >= then * (1 - tolerance) else "no",
        )
    ]


def _cells(subject: str, now: Cell, then: Cell) -> list[Row]:
    table = [[now.failed, now.answered], [then.failed, then.answered]]
    chance = float(fisher_exact(table, alternative="greater").pvalue)
    saw, was = (f"{each.failed} of {each.failed + each.answered}" for each in (now, then))
    met: Met = "no" if chance < DOUBT else "yes"
    return [
        Row(
            subject=subject,
            figure="errors against the baseline",
            saw=f"{saw}, was {was}",
            wanted="no more than chance",
            met=met,
        )
    ]


def _of_run(now: Run, then: Run, tolerance: float) -> list[Row]:
    scenario, rows = now.terms.scenario, []
    older = {(cell.task, cell.door): cell for cell in then.cells()}
    closed = all(phase.rate_per_s is None for phase in now.phases)
    for cell in now.cells():
        was = older.get((cell.task, cell.door))
        if was is None or scenario in UNJUDGED:
            continue
        subject = f"{scenario} {cell.task} {cell.door}"
        if scenario in TIMED and cell.latency.count and was.latency.count:
            rows += [
                _times(subject, figure, cell.latency, was.latency, tolerance)
                for figure in PERCENTILES
            ]
        rows += _cells(subject, cell, was)
        if closed and now.duration_s and then.duration_s:
            rates = (cell.answered / now.duration_s, was.answered / then.duration_s)
            rows += _rate(subject, *rates, tolerance)
    return rows


def _search(now: Search, baseline: Baseline, tolerance: float) -> list[Row]:
    rows: list[Row] = []
    older = {
        one.name: one
        for search in baseline.searches
        for one in search.found
        if (search.bounds_ms, search.percentile) == (now.bounds_ms, now.percentile)
    }
    for found in now.found:
        subject = f"search {found.name}"
        if found.name in older:
            # The truth is between what held and what failed, so only a rate that fails is a loss.
            most = found.fails_per_s or found.best_per_s
            rows += _rate(subject, most, older[found.name].best_per_s, tolerance)
        else:
            rows.append(_skipped(subject, "not in the baseline with these bounds"))
    return rows


def _run(now: Run, baseline: Baseline, tolerance: float) -> list[Row]:
    alike = [run for run in baseline.runs if run.terms.scenario == now.terms.scenario]
    same = [run for run in alike if not other_terms(now, run)]
    if same:
        return _of_run(now, same[-1], tolerance)
    why = "; ".join(other_terms(now, alike[-1])) if alike else "not in the baseline"
    return [_skipped(now.terms.scenario, why)]


def _skipped(subject: str, why: str) -> Row:
    return Row(
        subject=subject,
        figure="against the baseline",
        saw="not compared",
        wanted="",
        met="skipped",
        why=why,
    )


def words(machine: Machine) -> str:
    """The machine in a line."""
    return f"{machine.cpu}, {machine.cores} cores, {machine.memory_gib} GiB, {machine.system}"


def against(results: Sequence[Run | Search], baseline: Baseline, tolerance: float) -> list[Row]:
    """What has changed; a row that says why where something cannot be compared."""
    strangers = [each for each in results if not same_machine(each.machine, baseline.machine)]
    if strangers:
        was, is_ = words(baseline.machine), words(strangers[0].machine)
        return [_skipped("baseline", f"it was taken on {was}; this is {is_}")]
    return [
        row
        for now in results
        for row in (
            _search(now, baseline, tolerance)
            if isinstance(now, Search)
            else _run(now, baseline, tolerance)
        )
    ]
