"""a server, known requests → what it answers alone, in a closed loop and to Poisson arrivals."""

import asyncio
import math
import re
import time
from collections.abc import Sequence
from random import Random

from loadtests.serving.bench.search import Ask, Trial, best, highest, trial
from loadtests.serving.bench.search import Terms as SearchTerms
from loadtests.serving.calls import Caller, Kind, Reply
from loadtests.serving.compare.adapters import Adapter, Payload, said
from loadtests.serving.compare.record import Figures, Terms
from loadtests.validity import requests_needed

SETTLE_S = 0.5
LEAST_PER_S = 0.5
START = 0.8
"""Share of what a closed loop reached: a good first rate for most bounds."""
STEP = 1.2
"""Between the first rates; from there on the gap is halved."""


class Unanswered(Exception):
    """A server does not answer even one request alone; the message is what it sent."""


class Silent(Exception):
    """A server answers, but says nothing."""


async def alone(caller: Caller, adapter: Adapter, known: Sequence[Payload]) -> list[str]:
    """What the server says to each request, asked one after the other; raises Unanswered."""
    found = []
    for each in known:
        reply = await caller.rest(adapter.ask(each))
        if reply.kind is not Kind.ANSWERED:
            raise Unanswered(f"{each.scenario.task}: {reply.kind}: {reply.detail}")
        found.append(said(adapter.answer(reply.answer)))
    return found


def asking(
    caller: Caller,
    adapter: Adapter,
    known: Sequence[Payload],
    *,
    wanted: Sequence[str] | None,
    seed: int,
) -> Ask:
    """Request i of a load: one of the known ones; where `wanted` is given, other answers fail."""
    order = Random(seed).choices(range(len(known)), k=100_000)
    encoded = [adapter.ask(each) for each in known]

    async def ask(index: int) -> Reply:
        chosen = order[index % len(order)]
        reply = await caller.rest(encoded[chosen])
        if wanted is None or reply.kind is not Kind.ANSWERED:
            return reply
        text = said(adapter.answer(reply.answer))
        if text == wanted[chosen]:
            return reply
        return Reply(Kind.FAILED, detail=f"{text!r} is not {wanted[chosen]!r}")

    return ask


async def closed(ask: Ask, *, callers: int, duration_s: float) -> float:
    """Right answers per second to callers who never pause, until the last of them is answered."""
    loop = asyncio.get_running_loop()
    began_s, asked, done = loop.time(), 0, 0

    async def keep() -> None:
        nonlocal asked, done
        while loop.time() - began_s < duration_s:
            asked += 1
            reply = await ask(asked - 1)
            done += reply.kind is Kind.ANSWERED

    await asyncio.gather(*(keep() for _ in range(callers)))
    return done / (loop.time() - began_s)


async def sustained(
    ask: Ask, start_per_s: float, terms: Terms, *, ends_s: float = math.inf
) -> list[Trial]:
    """Rates, until the highest one that keeps the bound is known.

    `ends_s`, of the monotonic clock: no rate is tried whose requests would come after it.
    """
    needed = requests_needed(0, terms.percentile)
    of_search = SearchTerms(
        terms.bound_ms / 1e3, terms.duration_s, terms.seed, terms.precision, terms.percentile
    )

    async def attempt(rate_per_s: float) -> Trial:
        found = await trial(ask, rate_per_s, of_search)
        # What an abandoned trial left is worked off before the next one.
        await ask(0)
        await asyncio.sleep(SETTLE_S)
        return found

    def worthwhile(rate_per_s: float) -> bool:
        return time.monotonic() + max(terms.duration_s, needed / rate_per_s) <= ends_s

    return await highest(
        attempt,
        max(start_per_s, LEAST_PER_S),
        terms.precision,
        least_per_s=LEAST_PER_S,
        step=STEP,
        worthwhile=worthwhile,
    )


def words(text: str) -> list[str]:
    """Small letters without signs, in which transcripts differ that say the same."""
    return re.findall(r"\w+", text.lower())


async def measured(
    url: str,
    adapter: Adapter,
    known: Sequence[Payload],
    terms: Terms,
    *,
    reference: Sequence[str] | None,
    exact: bool,
    ends_s: float = math.inf,
) -> tuple[Figures, list[str]]:
    """The figures of a server that has started, and what it says alone; raises Silent, Unanswered.

    `reference` is what Attendant says; `exact` wants the same answers under load as alone; after
    `ends_s`, of the monotonic clock, no rate is tried.
    """
    async with Caller(url) as caller:
        texts = await alone(caller, adapter, known)
        if not any(texts):
            raise Silent
        ask = asking(caller, adapter, known, wanted=texts if exact else None, seed=terms.seed)
        await closed(ask, callers=terms.callers, duration_s=terms.warm_s)
        per_s = await closed(ask, callers=terms.callers, duration_s=terms.closed_s)
        trials = await sustained(ask, START * per_s, terms, ends_s=ends_s)
    found = best(trials)
    failed = [each.rate_per_s for each in trials if not each.held]
    above = [rate for rate in failed if found is None or rate > found.rate_per_s]
    same = sum(words(a) == words(b) for a, b in zip(texts, reference or texts, strict=True))
    figures = Figures(
        closed_per_s=per_s,
        open_per_s=found.rate_per_s if found else None,
        fails_per_s=min(above, default=None),
        p50_ms=found.p50_ms if found else None,
        p99_ms=found.p99_ms if found else None,
        trials=len(trials),
        same_ratio=same / len(texts),
    )
    return figures, texts
