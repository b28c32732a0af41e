"""moments at which requests are due → what became of each, and how long after that moment."""

import asyncio
import gc
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from math import ceil
from random import Random

from loadtests.serving.calls import Kind, Reply


@dataclass(frozen=True)
class Sample:
    """One request; the times count from the start of the load."""

    index: int
    due_s: float
    sent_s: float
    done_s: float
    reply: Reply

    @property
    def latency_s(self) -> float:
        return self.done_s - self.due_s

    @property
    def answered(self) -> bool:
        return self.reply.kind is Kind.ANSWERED


def poisson(rate_per_s: float, duration_s: float, *, seed: int) -> list[float]:
    """Moments in seconds, at random with that mean rate."""
    random, moments, at_s = Random(seed), [], 0.0
    while (at_s := at_s + random.expovariate(rate_per_s)) < duration_s:
        moments.append(at_s)
    return moments


async def offer(
    moments: Sequence[float],
    send: Callable[[int], Awaitable[Reply]],
    *,
    enough: Callable[[Sequence[Sample], Sequence[float]], bool] = lambda *_: False,
) -> list[Sample]:
    """Send request i at moment i, whether or not others are answered.

    Where `enough` says so of those that are done, and of the seconds for which the others have been
    due, the rest is not sent and what is under way is dropped.
    """
    gc.collect()
    gc.freeze()  # a collection of all that was imported would make hundreds of requests late
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    done: list[Sample] = []

    async def one(index: int, due_s: float) -> None:
        sent_s = loop.time() - began_s
        reply = await send(index)
        done.append(Sample(index, due_s, sent_s, loop.time() - began_s, reply))

    under_way: dict[asyncio.Task[None], float] = {}
    for index, due_s in enumerate(moments):
        if (early_s := due_s - (loop.time() - began_s)) > 0:
            await asyncio.sleep(early_s)
        now_s = loop.time() - began_s
        if enough(done, [now_s - since_s for since_s in under_way.values()]):
            for task in under_way:
                task.cancel()
            break
        task = loop.create_task(one(index, due_s))
        under_way[task] = due_s
        task.add_done_callback(under_way.pop)
    await asyncio.gather(*under_way, return_exceptions=True)
    return done


def percentile(ordered: Sequence[float], ratio: float) -> float:
    """The nearest-rank percentile; 0 where nothing was measured."""
    return ordered[ceil(ratio * len(ordered)) - 1] if ordered else 0.0


def percentile_ms(seconds: Sequence[float], ratio: float) -> float:
    return percentile(sorted(seconds), ratio) * 1e3


def lag_ms(samples: Sequence[Sample]) -> float:
    """How late the 99th of a hundred requests left: a saturated caller measures itself."""
    return percentile_ms([sample.sent_s - sample.due_s for sample in samples], 0.99)
