"""translation under Poisson arrivals → the requests per second that each server sustains."""

import asyncio
from collections.abc import Sequence
from random import Random

import uvloop

from loadtests.door import Door
from loadtests.scenarios import Scenario
from loadtests.serving.bench.search import Ask, Terms, Trial, best, highest, trial
from loadtests.serving.bench.servers import Missing, Places, Started, ctranslate2, ours
from loadtests.serving.calls import Caller, Kind, Reply
from loadtests.serving.goldens import Golden, recorded
from loadtests.serving.processes import Running
from loadtests.serving.verdict import Row, judged

CONTINUOUS, REQUEST, PEER = "continuous", "request", "CTranslate2 int8 behind FastAPI"
START = 0.7
"""Of what a server does for callers who never pause."""
WANTED = {REQUEST: 2.0, PEER: 2.0}


def asking(caller: Caller, goldens: Sequence[Golden], seed: int, changed: list[str]) -> Ask:
    """Request i of a load: one of the known ones; answers that differ are counted."""
    order = Random(seed).choices(range(len(goldens)), k=100_000)

    async def ask(index: int) -> Reply:
        golden = goldens[order[index % len(order)]]
        reply = await caller.ask(golden.door, golden.scenario)
        if fault := golden.wrong(reply):
            changed.append(fault)
        return reply

    return ask


async def capacity(caller: Caller, goldens: Sequence[Golden], duration_s: float) -> float:
    """Requests per second of 16 callers who never pause."""
    loop = asyncio.get_running_loop()
    end_s, done = loop.time() + duration_s, 0

    async def keep(random: Random) -> None:
        nonlocal done
        while loop.time() < end_s:
            golden = random.choice(goldens)
            reply = await caller.ask(golden.door, golden.scenario)
            done += reply.kind is Kind.ANSWERED and loop.time() < end_s

    await asyncio.gather(*(keep(Random(number)) for number in range(16)))
    return done / duration_s


async def start(caller: Caller, goldens: Sequence[Golden], terms: Terms) -> float:
    """The rate at which a search begins: near its end, for every trial takes its time."""
    most_per_s = await capacity(caller, goldens, min(10.0, terms.duration_s))
    return max(START * most_per_s, 0.5)


async def sustained(
    server: Running, scenarios: Sequence[Scenario], terms: Terms
) -> tuple[list[Trial], int]:
    """The trials of one server, and how many answers were not those given alone."""
    changed: list[str] = []
    async with Caller(server.url) as caller:
        goldens = await recorded(caller, scenarios, [Door.REST])
        start_per_s = await start(caller, goldens, terms)
        ask = asking(caller, goldens, terms.seed, changed)

        async def attempt(rate_per_s: float) -> Trial:
            found = await trial(ask, rate_per_s, terms)
            await _idle(caller, goldens[0])
            return found

        trials = await highest(attempt, start_per_s, terms.precision)
    return trials, len(changed)


async def _idle(caller: Caller, golden: Golden) -> None:
    """Wait until what an abandoned trial left is off the queue."""
    while (await caller.ask(golden.door, golden.scenario)).kind is not Kind.ANSWERED:
        await asyncio.sleep(0.2)
    await asyncio.sleep(1.0)


def servers(places: Places) -> dict[str, Started]:
    return {
        CONTINUOUS: ours(places, ATTENDANT_BATCHING=CONTINUOUS),
        REQUEST: ours(places, ATTENDANT_BATCHING=REQUEST),
        PEER: ctranslate2(places),
    }


def rows_of(rates: dict[str, float]) -> list[Row]:
    """How many times as much continuous batching sustains."""
    rows = []
    for name, wanted in WANTED.items():
        if rates.get(name) and CONTINUOUS in rates:
            ratio = rates[CONTINUOUS] / rates[name]
            rows.append(
                judged(f"batching: against {name}", f"{ratio:.2f}x", f"{wanted:g}x",
                       met=ratio >= wanted)
            )  # fmt: skip
    return rows


def bench(places: Places, terms: Terms, scenarios: Sequence[Scenario]) -> list[Row]:
    """Every server alone, one after the other, with the same requests."""
    rows: list[Row] = []
    rates: dict[str, float] = {}
    for name, start in servers(places).items():
        what = f"batching: {name}"
        try:
            with start() as server:
                trials, changed = uvloop.run(sustained(server, scenarios, terms))
        except Missing as reason:
            rows.append(Row(tried=what, saw=str(reason), met="skipped"))
            continue
        found = best(trials)
        told = "nothing sustained"
        if found:
            rates[name] = found.rate_per_s
            told = (
                f"{found.rate_per_s:.1f} requests/s, p50 {found.p50_ms:.0f} ms, p99 "
                f"{found.p99_ms:.0f} ms, {found.late} of {found.sent} late"
            )
        told += f"; {len(trials)} rates tried; {changed} answers not as alone"
        own = name != PEER
        voids = sum(each.void for each in trials)
        told += f"; {voids} void" if voids else ""
        rows.append(
            judged(what, told, "answers as alone" if own else "",
                   met=bool(found) and (changed == 0 or not own))
        )  # fmt: skip
    return [*rows, *rows_of(rates)]
