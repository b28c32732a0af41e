"""`python -m loadtests.scale.validate`: the simulated fleet beside 1 and 2 workers, then past them.

One worker with one thread, asked by one caller who never pauses and then for more than it holds,
tells how long its batches take and how many cores it keeps busy. From that follows what is held of
open load, which then is measured. The caller runs on the same cores; the simulation has it, too.
"""

import asyncio
import os
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from typing import Annotated

import numpy as np
import typer
import uvloop

from loadtests.door import Door
from loadtests.scale.fleet import Balance, Fleet, Pace
from loadtests.scenarios import Scenario, scenario
from loadtests.serving.attendant import attendant
from loadtests.serving.bench.batching import asking, sustained
from loadtests.serving.bench.search import Ask, Terms, Trial, best, trial
from loadtests.serving.calls import Caller
from loadtests.serving.goldens import recorded
from loadtests.serving.open_load import offer, poisson
from loadtests.serving.processes import Running
from loadtests.serving.verdict import Row, conclude, judged
from service.tasks import task as task_of

CALLERS = 32
"""As many as fill batches."""
OVERFULL = 1.2
"""Times what they get is asked for to see how fast a queue moves."""
MOST_OFF = 0.2
"""How far the simulated rate may be from the measured one."""
PRECISION = 1.05
"""Ratio of the rates between which a search ends."""
SHARES = (0.5, 0.8)
"""Of the highest rate: where latencies are held beside each other."""
BEYOND = (4, 8, 16, 32)
BALANCES: tuple[Balance, ...] = ("random", "least")


@dataclass(frozen=True)
class Worker:
    """One worker with one thread, and what a request costs its caller."""

    alone_ms: float
    rate_per_s: float
    cores: float
    """Busy ones at that rate: its doors need more than its one thread."""
    caller_s: float = 0.0

    def fleet(self, workers: int, balance: Balance) -> Fleet:
        """So many of them on the cores of this machine."""
        cores = float(os.cpu_count() or 1)
        return Fleet(self._pace, workers, cores, balance, self.caller_s)

    def apart(self, workers: int, balance: Balance) -> Fleet:
        """So many of them with cores of their own, and callers elsewhere."""
        return Fleet(self._pace, workers, workers * self.cores, balance)

    @property
    def _pace(self) -> Pace:
        return Pace.measured(self.alone_ms, self.rate_per_s, CALLERS, self.cores)


@dataclass(frozen=True)
class Held:
    """What so many workers held of open load."""

    best: Trial
    caller_s: float
    below: list[Trial]
    """At shares of the best rate."""
    memory_bytes: int


def memory_bytes(server: Running) -> int:
    """Of all its processes; pages that some of them share count once."""
    return sum(process.memory_full_info().pss for process in server.family())


async def closed(ask: Ask, callers: int, seconds: float) -> list[float]:
    """Latencies in seconds of so many who each ask as soon as they are answered."""
    latencies_s: list[float] = []
    end_s = perf_counter() + seconds

    async def call() -> None:
        while (began_s := perf_counter()) < end_s:
            await ask(0)
            latencies_s.append(perf_counter() - began_s)

    await asyncio.gather(*(call() for _ in range(callers)))
    return latencies_s


async def overfull(ask: Ask, rate_per_s: float, terms: Terms) -> float:
    """Answers a second where more is asked than that: fewer than of callers who wait for theirs."""
    moments = poisson(rate_per_s, terms.duration_s, seed=terms.seed)
    samples = await offer(moments, ask)
    return sum(each.answered for each in samples) / max(each.done_s for each in samples)


async def paced(server: Running, one: Scenario, terms: Terms) -> Worker:
    """A server of one worker: how it answers one caller, and how many answers a queue gets.

    They ask as those of the open load do, for what a request costs depends on who sends it.
    """
    async with Caller(server.url) as caller:
        ask = asking(caller, await recorded(caller, [one], [Door.REST]), terms.seed, [])
        alone_s = await closed(ask, 1, terms.duration_s)
        most = len(await closed(ask, CALLERS, terms.duration_s)) / terms.duration_s
        used_s, began_s = server.cpu_s(), perf_counter()
        rate_per_s = await overfull(ask, OVERFULL * most, terms)
        cores = (server.cpu_s() - used_s) / (perf_counter() - began_s)
    return Worker(1e3 * median(alone_s), rate_per_s, cores)


async def held(server: Running, one: Scenario, terms: Terms) -> Held:
    """The highest rate that keeps the bound, and latencies below it."""
    used_s = process_time()
    trials, changed = await sustained(server, [one], terms)
    found = best(trials)
    if found is None or changed:
        raise typer.BadParameter(f"{one.task}: no rate held, or {changed} answers not as alone")
    caller_s = (process_time() - used_s) / sum(each.sent for each in trials)
    async with Caller(server.url) as caller:
        ask = asking(caller, await recorded(caller, [one], [Door.REST]), terms.seed, [])
        below = [await trial(ask, share * found.rate_per_s, terms) for share in SHARES]
    return Held(found, caller_s, below, memory_bytes(server))


def highest_per_s(fleet: Fleet, terms: Terms) -> float:
    return fleet.highest_per_s(1e3 * terms.bound_s, ratio=terms.percentile, seed=terms.seed)


def beside(name: str, workers: int, worker: Worker, seen: Held, terms: Terms) -> list[Row]:
    """The simulation, with the kernel giving connections to anybody or the idlest."""
    measured = seen.best.rate_per_s
    balances = BALANCES if workers > 1 else BALANCES[:1]
    fleets = [worker.fleet(workers, balance) for balance in balances]
    rates = [highest_per_s(fleet, terms) for fleet in fleets]
    nearest = min((rate / measured - 1 for rate in rates), key=abs)
    simulated = " to ".join(f"{rate:.0f}" for rate in rates)
    who = f"{name}, {workers} {'worker' if workers == 1 else 'workers'}"
    said = f"measured {measured:.0f}/s, simulated {simulated}/s: {nearest:+.0%}"
    wanted = f"within {MOST_OFF:.0%}"
    rows = [judged(f"{who}: highest rate", said, wanted, met=abs(nearest) <= MOST_OFF)]
    rows.append(Row(tried=f"{who}: memory", saw=f"{seen.memory_bytes / (1 << 20):.0f} MiB"))
    for share, one in zip(SHARES, seen.below, strict=True):
        late = [fleet.latencies_s(one.rate_per_s, seed=terms.seed) for fleet in fleets]
        p99s = " to ".join(f"{1e3 * np.quantile(each, 0.99):.0f}" for each in late)
        said = f"measured {one.p99_ms:.0f} ms, simulated {p99s} ms"
        rows.append(Row(tried=f"{who}: p99 at {share:.0%} of it", saw=said))
    return rows


def beyond(name: str, worker: Worker, terms: Terms) -> list[Row]:
    """What more of them would hold with cores of their own."""
    rows = []
    single = highest_per_s(worker.apart(1, "least"), terms)
    for workers in BEYOND:
        each = []
        for balance in BALANCES:
            rate = highest_per_s(worker.apart(workers, balance), terms)
            each.append(f"{balance} {rate:.0f}/s, {rate / workers / single:.0%}")
        rows.append(Row(tried=f"{name}, {workers} workers, simulated", saw="; ".join(each)))
    return rows


def validated(name: str, terms: Terms, numbers: list[int]) -> list[Row]:
    """One task: paced, measured, simulated."""
    one = scenario(task_of(name))
    quiet = {"ATTENDANT_LOG_LEVEL": "warning", "ATTENDANT_THREADS": "1"}
    with attendant(None, {**quiet, "ATTENDANT_WORKERS": "1"}) as server:
        found = uvloop.run(paced(server, one, terms))
    rows = []
    for workers in numbers:
        with attendant(None, {**quiet, "ATTENDANT_WORKERS": str(workers)}) as server:
            seen = uvloop.run(held(server, one, terms))
        # What the caller costs is known only once it has asked.
        worker = Worker(found.alone_ms, found.rate_per_s, found.cores, seen.caller_s)
        rows += beside(name, workers, worker, seen, terms)
    said = f"{found.alone_ms:.1f} ms alone, {found.rate_per_s:.0f}/s of a queue on "
    said += f"{found.cores:.2f} cores"
    return [Row(tried=f"{name}, a worker", saw=said), *rows, *beyond(name, found, terms)]


def main(
    task: Annotated[list[str] | None, typer.Option(help="Only these tasks.")] = None,
    worker: Annotated[list[int] | None, typer.Option(min=1, help="How many workers.")] = None,
    duration_s: Annotated[float, typer.Option(min=1, help="Least time of one rate.")] = 10.0,
    bound_ms: Annotated[float, typer.Option(min=1, help="Of the 99th percentile.")] = 200.0,
    percentile: Annotated[
        float, typer.Option(help="Another one for a quick look, which proves nothing.")
    ] = 0.99,
    seed: Annotated[int, typer.Option()] = 0,
    record: Annotated[Path | None, typer.Option(help="Keep the table in this file.")] = None,
) -> None:
    """Simulate and measure; exits 1 where the simulated rate is further off than it may be."""
    terms = Terms(bound_ms / 1e3, duration_s, seed, PRECISION, percentile)
    rows: list[Row] = []
    for name in task or ["image-classification", "audio-classification"]:
        rows += validated(name, terms, worker or [1, 2])
    kept = {"bound": f"p99 {bound_ms:g} ms", "s a rate": duration_s, "threads a worker": 1}
    conclude("bench-workers", rows, {**kept, "seed": seed}, record=record)


if __name__ == "__main__":
    typer.run(main)
