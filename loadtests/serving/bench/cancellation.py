"""long requests whose callers leave at the first token → the processor time that this saves."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from math import nan

from loadtests.door import Door
from loadtests.scenarios import Scenario, scenario
from loadtests.serving.attendant import attendant
from loadtests.serving.bench.servers import Places
from loadtests.serving.bench.texts import longer, sentences
from loadtests.serving.calls import Caller, Kind, Reply
from loadtests.serving.processes import Running
from loadtests.serving.streams import events
from loadtests.serving.verdict import Row, judged
from service.tasks import task

SAVED = 0.9
SENTENCES = 40
"""Of a request; each is ten of the test split, so that the first token is an early one."""
ANSWERED = 5
"""Of the same requests that are answered, for what one takes."""
QUIET_S = 0.5
QUIET_SHARE = 0.1
"""A server that uses less of one core than this, for so long, has nothing left to do."""


def long_request(places: Places) -> Scenario:
    of, known = task("translation"), sentences(places.data)
    texts = [longer(known[10 * number : 10 * number + 10]) for number in range(SENTENCES)]
    asked = {"text": texts, "source": "de", "target": "en", "beam_size": 8, "max_new_tokens": 200}
    return scenario(of, request=of.request.model_validate(asked))


async def _quiet(server: Running) -> float:
    """Wait until the server has nothing left to do; returns the processor time used so far."""
    before_s = server.cpu_s()
    while True:
        await asyncio.sleep(QUIET_S)
        used_s = server.cpu_s()
        if used_s - before_s < QUIET_SHARE * QUIET_S:
            return used_s
        before_s = used_s


async def used_s(server: Running, ask: Callable[[], Awaitable[bool]], number: int) -> float:
    """Processor seconds that each of so many requests took, one after the other; NaN if one failed.

    What goes on after the last caller has left is waited for, and counts.
    """
    before_s = await _quiet(server)
    right = [await ask() for _ in range(number)]
    return (await _quiet(server) - before_s) / number if all(right) else nan


async def cancelled(server: Running, address: str, one: Scenario, number: int) -> list[Row]:
    rows = []
    async with Caller(server.url, address) as caller:
        await caller.ask(Door.REST, one)
        for door in Door:

            async def answered(door: Door = door) -> bool:
                return (await caller.ask(door, one)).kind is Kind.ANSWERED

            async def left(door: Door = door) -> bool:
                async with aclosing(events(caller, door, one)) as stream:
                    return not isinstance(await anext(stream), Reply)

            whole_s = await used_s(server, answered, min(number, ANSWERED))
            part_s = await used_s(server, left, number)
            saved = 1 - part_s / whole_s
            rows.append(
                judged(
                    f"cancellation over {door}: {number} left after the first token",
                    f"{saved:.1%} saved: {part_s:.2f} s of {whole_s:.2f} s of processor time each",
                    f"{SAVED:.0%}",
                    met=saved >= SAVED,
                )
            )
    return rows


def bench(places: Places, *, number: int) -> list[Row]:
    with attendant(places.store, {"ATTENDANT_THREADS": str(places.threads)}) as server:
        return asyncio.run(cancelled(server, server.grpc, long_request(places), number))
