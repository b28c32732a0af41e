"""a server, a bound → the highest rate of Poisson arrivals at which its p99 keeps the bound."""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from loadtests.bisection import rates
from loadtests.serving.calls import Reply
from loadtests.serving.open_load import Sample, lag_ms, offer, percentile_ms, poisson
from loadtests.validity import most_late, requests_needed

LAG_MS = 50.0
"""A caller that sends later than this measures itself; the trial is void."""
STEP = 1.4
"""Between the rates that are tried until one holds and one fails."""
LONGER = 1.1
"""A trial in which too few requests would arrive is made longer by this, and again."""


@dataclass(frozen=True)
class Terms:
    """What every trial is held to."""

    bound_s: float
    duration_s: float
    seed: int
    precision: float = 1.1
    """The search ends when the rate that fails is at most so many times the one that holds."""
    percentile: float = 0.99


@dataclass(frozen=True)
class Trial:
    """One rate."""

    rate_per_s: float
    sent: int
    late: int
    """Answers over the bound and requests without one."""
    p50_ms: float
    p99_ms: float
    lag_ms: float
    held: bool
    void: bool = False


Ask = Callable[[int], Awaitable[Reply]]


def lateness(samples: Sequence[Sample], bound_s: float) -> int:
    return sum(not each.answered or each.latency_s > bound_s for each in samples)


async def trial(ask: Ask, rate_per_s: float, terms: Terms) -> Trial:
    """Offer one rate; ended early once too many are late for the percentile to be claimed."""
    needed = requests_needed(0, terms.percentile)
    duration_s = terms.duration_s
    while len(moments := poisson(rate_per_s, duration_s, seed=terms.seed)) < needed:
        duration_s = max(duration_s, needed / rate_per_s) * LONGER
    allowed = most_late(len(moments), terms.percentile)
    late = counted = missed = 0

    def lost(done: Sequence[Sample], waiting_s: Sequence[float]) -> bool:
        nonlocal late, counted, missed
        # Asked before every request: what was counted is not counted again.
        missed += lateness(done[counted:], terms.bound_s)
        counted = len(done)
        late = missed + sum(each_s > terms.bound_s for each_s in waiting_s)
        return late > allowed

    samples = await offer(moments, ask, enough=lost)
    late = max(late, lateness(samples, terms.bound_s))
    latencies = [each.latency_s for each in samples]
    lag = lag_ms(samples)
    void = lag > LAG_MS
    return Trial(
        rate_per_s,
        sent=len(samples),
        late=late,
        p50_ms=percentile_ms(latencies, 0.5),
        p99_ms=percentile_ms(latencies, 0.99),
        lag_ms=lag,
        held=len(samples) == len(moments) and 0 <= late <= allowed and not void,
        void=void,
    )


async def highest(
    attempt: Callable[[float], Awaitable[Trial]],
    start_per_s: float,
    precision: float,
    *,
    least_per_s: float = 0.1,
    step: float = STEP,
    worthwhile: Callable[[float], bool] = lambda _: True,
) -> list[Trial]:
    """Try rates until the search is over, or the next one is not worthwhile; trials in order."""
    trials: list[Trial] = []
    search = rates(start_per_s, precision, step=step, least_per_s=least_per_s)
    rate_per_s = next(search)
    with suppress(StopIteration):
        while worthwhile(rate_per_s):
            trials.append(await attempt(rate_per_s))
            rate_per_s = search.send(trials[-1].held)
    return trials


def best(trials: Sequence[Trial]) -> Trial | None:
    """The highest rate that held; None if none did."""
    held = [each for each in trials if each.held]
    return max(held, key=lambda each: each.rate_per_s, default=None)
