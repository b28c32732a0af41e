"""three times what a server can do, for a minute → what is answered in time, how the rest is."""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence

import uvloop

from loadtests.door import Door
from loadtests.lab.http_client import HttpClient, Lost, NotConnected
from loadtests.scenarios import Scenario
from loadtests.serving.bench.batching import start
from loadtests.serving.bench.search import Ask, Terms, best, highest, trial
from loadtests.serving.bench.servers import Places, ours
from loadtests.serving.calls import KEEP_ALIVE_S, PROBLEM, Caller, Kind, Reply, of_http
from loadtests.serving.goldens import Golden, recorded
from loadtests.serving.open_load import Sample, lag_ms, offer, percentile_ms, poisson
from loadtests.serving.processes import Running
from loadtests.serving.verdict import Row, judged

TIMES = 3.0
GOODPUT = 0.9
REFUSAL_MS = 50.0
DEADLINE = "grpc-timeout"
"""A client that says how long it waits is refused at once where that cannot be kept."""


def rows_of(
    samples: Sequence[Sample], *, most_per_s: float, duration_s: float, bound_s: float
) -> list[Row]:
    """Goodput against the maximum, the times of what was accepted and of what was refused."""
    kinds = Counter(each.reply.kind for each in samples)
    accepted = [each.latency_s for each in samples if each.answered]
    refused = [each.done_s - each.sent_s for each in samples if each.reply.kind is Kind.REFUSED]
    good = sum(latency_s <= bound_s for latency_s in accepted) / duration_s
    bad = [
        each.reply.detail
        for each in samples
        if each.reply.kind not in (Kind.ANSWERED, Kind.REFUSED) or each.reply.detail.startswith("5")
    ]
    p99_ms, refusal_ms = percentile_ms(accepted, 0.99), percentile_ms(refused, 0.99)
    saw = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
    return [
        Row(tried="overload: replies", saw=f"{saw}; sent at most {lag_ms(samples):.0f} ms late"),
        judged("overload: goodput", f"{good:.1f} of {most_per_s:.1f} requests/s",
               f"{GOODPUT:.0%} of the maximum", met=good >= GOODPUT * most_per_s),
        judged("overload: p99 of what was accepted", f"{p99_ms:.0f} ms", f"{bound_s * 1e3:.0f} ms",
               met=bool(accepted) and p99_ms <= bound_s * 1e3),
        judged("overload: p99 of refusals", f"{refusal_ms:.1f} ms of {len(refused)}",
               f"under {REFUSAL_MS:.0f} ms", met=bool(refused) and refusal_ms < REFUSAL_MS),
        judged("overload: 5xx", f"{len(bad)}{''.join(f'; {text[:120]}' for text in bad[:1])}", "0",
               met=not bad),
    ]  # fmt: skip


def hurrying(
    client: HttpClient, goldens: Sequence[Golden], told: Mapping[str, str] | None = None
) -> Ask:
    """Requests with these headers, sent for a fraction of what a general client needs.

    The caller shares the cores with the server: what it takes itself is missing there, and a busy
    caller hears of a refusal late.
    """
    written = [
        client.request(
            each.scenario.path, {"Content-Type": each.scenario.content_type, **(told or {})},
            each.scenario.body,
        )
        for each in goldens
    ]  # fmt: skip

    async def hurried(index: int) -> Reply:
        at = index % len(goldens)
        try:
            status, body = await client.ask(written[at])
        except (NotConnected, Lost) as error:
            return Reply(
                Kind.LOST if isinstance(error, Lost) else Kind.UNREACHABLE, detail=str(error)
            )
        reply = of_http(status, PROBLEM, body)
        fault = goldens[at].wrong(reply)
        return Reply(Kind.FAILED, detail=f"wrong: {fault}") if fault else reply

    return hurried


async def overloaded(
    server: Running, scenarios: Sequence[Scenario], terms: Terms, duration_s: float
) -> list[Row]:
    client = HttpClient(server.url, keep_s=KEEP_ALIVE_S)
    async with Caller(server.url) as caller:
        goldens = await recorded(caller, scenarios, [Door.REST])
        start_per_s = await start(caller, goldens, terms)
        ask = hurrying(client, goldens)  # the same callers: what they cost is no reserve
        trials = await highest(lambda rate: trial(ask, rate, terms), start_per_s, terms.precision)
        found = best(trials)
        if found is None:
            return [judged("overload: maximum", "no rate was sustained", "one", met=False)]
        await asyncio.sleep(2.0)
        moments = poisson(TIMES * found.rate_per_s, duration_s, seed=terms.seed)
        told = {DEADLINE: f"{round(terms.bound_s * 1e3)}m"}
        samples = await offer(moments, hurrying(client, goldens, told))
        await client.close()
    return rows_of(
        samples, most_per_s=found.rate_per_s, duration_s=duration_s, bound_s=terms.bound_s
    )


def bench(
    places: Places, terms: Terms, scenarios: Sequence[Scenario], duration_s: float
) -> list[Row]:
    with ours(places)() as server:
        return uvloop.run(overloaded(server, scenarios, terms, duration_s))
