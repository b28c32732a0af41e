"""a server, bounds → the highest rate at which the percentile keeps its bound, by bisection.

A trial holds where so few requests were late that the percentile may be claimed with a confidence
of 99 % (`validity.py`). It is given up as soon as that is impossible, so what fails fails quickly.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from random import Random
from time import perf_counter

from loadtests.bisection import rates
from loadtests.clock import Clock
from loadtests.lab.plan import GiveUp
from loadtests.lab.run import Prepared, Way, measure
from loadtests.lab.runner import INTERRUPTED
from loadtests.lab.scenarios import Asked, scenario
from loadtests.lab.server import introduced
from loadtests.peers.machine import machine
from loadtests.results import Search, Searched, Trial
from loadtests.validity import DOUBT, most_late, requests_needed

PERCENTILES = (0.99, 0.95, 0.9)
PROBE_S = 4.0
PROBE_USERS = 4
TRIALS = 5
"""About so many are needed; half of them fail early."""
START = 0.7
"""Share of what a closed loop reached: a good first rate for most bounds."""
LONGER = 1.1
"""A trial that would have too few requests is made longer by this, and again."""
ATTEMPTS = 2
"""A trial in which the generator itself was late says nothing, and is made once more."""
MIX = "mix"


@dataclass(frozen=True)
class Sought:
    """What a search is held to."""

    bounds_ms: Mapping[str, float]
    """Task → bound."""
    duration_s: float
    """For all searches together: no trial is begun that would end later. Each claims the highest
    percentile that fits in its share."""
    least_s: float = 8.0
    """Of a trial."""
    precision: float = 1.1
    generators: int = 1


Told = Callable[[str], None]


def searched(prepared: Prepared, sought: Sought, told: Told) -> Search:
    """Every task on every door alone, then the mix. Ends early, and void, at Ctrl-C."""
    search = Search(
        began=datetime.now(UTC).isoformat(timespec="seconds"),
        machine=machine(),
        server=prepared.server,
        bounds_ms=dict(sought.bounds_ms),
        percentile=PERCENTILES[0],
        confidence=1 - DOUBT,
        precision=sought.precision,
        seed=prepared.target.seed,
        duration_s=sought.least_s,
    )
    search.void += prepared.wrong
    clock = Clock(sought.duration_s, [1.0] * len(names(prepared)))
    for name in names(prepared):
        part = prepared if name == MIX else prepared.only(name)
        found = one(name, part, sought, clock.share_s(), told)
        search.found.append(found)
        void = [reason for trial in found.trials for reason in trial.run.void]
        if INTERRUPTED in void:
            search.void.append(INTERRUPTED)
            break
        search.void += undecided(found)
        introduced(prepared.target.url, {})  # raises Unreachable where the server has gone
    return search


def names(prepared: Prepared) -> list[str]:
    """What is searched; a mix of one is no mix."""
    single = list(prepared.weights)
    return [*single, MIX] if len(single) > 1 else single


def one(name: str, part: Prepared, sought: Sought, share_s: float, told: Told) -> Searched:
    """The highest rate of one thing, looked for no longer than its share."""
    ends_s = perf_counter() + share_s
    probe = measure(part, Way("closed", PROBE_S, users=PROBE_USERS, generators=sought.generators))
    capacity_per_s = sum(cell.answered for cell in probe.cells()) / max(probe.duration_s, PROBE_S)
    untried = Trial(rate_per_s=0, late=0, allowed=-1, held=False, run=probe)
    if INTERRUPTED in probe.void or capacity_per_s == 0:
        return Searched(name=name, trials=[untried], best_per_s=None, fails_per_s=None)
    percentile = claimable(capacity_per_s, share_s)
    told(f"{name}: a closed loop makes {capacity_per_s:.1f}/s; claiming p{100 * percentile:g}")
    trials: list[Trial] = []
    search = rates(START * capacity_per_s, sought.precision)
    rate_per_s = next(search)
    with suppress(StopIteration):
        while perf_counter() + trial_s(rate_per_s, percentile, sought) <= ends_s:
            for _ in range(ATTEMPTS):
                trials.append(attempt(part, rate_per_s, percentile, sought, name == MIX))
                told(f"{name}: {said(trials[-1])}")
                if decided(trials[-1]):
                    break
            if INTERRUPTED in trials[-1].run.void or not decided(trials[-1]):
                break
            rate_per_s = search.send(trials[-1].held)
        else:
            told(f"{name}: no time is left to try {rate_per_s:.1f}/s")
    trials = trials or [untried]
    held = [each.rate_per_s for each in trials if each.held]
    failed = [each.rate_per_s for each in trials if not each.held]
    best = max(held, default=None)
    fails = min((rate for rate in failed if best is None or rate > best), default=None)
    return Searched(name=name, trials=trials, best_per_s=best, fails_per_s=fails)


def claimable(rate_per_s: float, share_s: float) -> float:
    """The highest percentile whose trials, at this rate, fit in the time there is."""
    for percentile in PERCENTILES:
        if TRIALS * requests_needed(0, percentile) / rate_per_s <= share_s:
            return percentile
    return PERCENTILES[-1]


def trial_s(rate_per_s: float, percentile: float, sought: Sought) -> float:
    """About how long a trial takes, in seconds: as long as its claim needs."""
    return max(sought.least_s, LONGER * requests_needed(0, percentile) / rate_per_s)


def attempt(
    part: Prepared, rate_per_s: float, percentile: float, sought: Sought, together: bool
) -> Trial:
    """Offer one rate, for as long as the claim needs."""
    needed = requests_needed(0, percentile)
    way = Way(
        "server", trial_s(rate_per_s, percentile, sought), rate_per_s,
        percentile=percentile, together=together, generators=sought.generators,
    )  # fmt: skip
    while (sent := planned(way, part.target.seed)) < needed:
        way = replace(way, duration_s=way.duration_s * LONGER)
    allowed = most_late(sent, percentile)
    give_up = GiveUp(bounds_ms=dict(sought.bounds_ms), allowed=allowed)
    run = measure(part, replace(way, give_up=give_up))
    late = sum(cell.misses(sought.bounds_ms[cell.task]) for cell in run.cells())
    held = late <= allowed and run.valid
    return Trial(rate_per_s=rate_per_s, late=late, allowed=allowed, held=held, run=run)


def planned(way: Way, seed: int) -> int:
    """How many requests a run of this kind has, by its seed."""
    asked = Asked(way.duration_s, way.rate_per_s, way.users, way.samples)
    loads = scenario(way.scenario).loads(asked)
    return sum(
        sum(1 for _ in load.moments(Random(seed + number))) for number, load in enumerate(loads)
    )


def decided(trial: Trial) -> bool:
    """Whether it says something about the server: it held, or too many were late."""
    return trial.held or trial.late > trial.allowed or INTERRUPTED in trial.run.void


def undecided(found: Searched) -> list[str]:
    """Where a rate could not be judged, a higher one than the best may hold too."""
    (*_, last) = found.trials
    if not last.rate_per_s and any(cell.answered for cell in last.run.cells()):
        return [f"{found.name}: there was no time to try a single rate"]
    return [
        f"{found.name}: {trial.rate_per_s:.1f}/s could not be judged: {'; '.join(trial.run.void)}"
        for trial in found.trials
        if not decided(trial) and trial is found.trials[-1]
    ]


def said(trial: Trial) -> str:
    cells = trial.run.cells()
    sent = sum(cell.sent for cell in cells)
    verdict = "holds" if trial.held else "fails" if decided(trial) else "undecided"
    return (
        f"{trial.rate_per_s:.1f}/s {verdict}: {trial.late} of {sent} late, {trial.allowed} allowed"
    )
