"""long requests whose callers leave → the processor time that is saved by that, on both doors."""

import asyncio

from loadtests.door import Door
from loadtests.scenarios import Scenario, scenario
from loadtests.serving.attendant import attendant
from loadtests.serving.bench.servers import Places
from loadtests.serving.bench.texts import longer, sentences
from loadtests.serving.calls import Caller, Kind
from loadtests.serving.processes import Running
from loadtests.serving.verdict import Row, judged
from service.tasks import task

SAVED = 0.9
SENTENCES = 40
"""Of a request; each is ten of the test split, so that 100 ms are little of its time."""
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


async def used_s(
    server: Running, caller: Caller, ask: tuple[Door, Scenario], number: int, leave_s: float | None
) -> tuple[float, int]:
    """Processor seconds of so many requests, one after the other, and how many were answered.

    What goes on after the last caller has left is waited for, and counts.
    """
    before_s, answered = await _quiet(server), 0
    for _ in range(number):
        asked = asyncio.create_task(caller.ask(*ask))
        await asyncio.wait([asked], timeout=leave_s)
        if asked.done():
            answered += asked.result().kind is Kind.ANSWERED
        else:
            asked.cancel()
            await asyncio.gather(asked, return_exceptions=True)
    return await _quiet(server) - before_s, answered


async def cancelled(
    server: Running, address: str, one: Scenario, number: int, leave_s: float
) -> list[Row]:
    rows = []
    async with Caller(server.url, address) as caller:
        await caller.ask(Door.REST, one)
        for door in Door:
            whole_s, answered = await used_s(server, caller, (door, one), number, None)
            part_s, _ = await used_s(server, caller, (door, one), number, leave_s)
            saved = 1 - part_s / whole_s
            rows.append(
                judged(
                    f"cancellation over {door}: {number} left after {leave_s * 1e3:.0f} ms",
                    f"{saved:.1%} saved: {part_s:.1f} s of {whole_s:.1f} s of processor time",
                    f"{SAVED:.0%}",
                    met=answered == number and saved >= SAVED,
                )
            )
    return rows


def bench(places: Places, *, number: int, leave_s: float) -> list[Row]:
    with attendant(places.store, {"ATTENDANT_THREADS": str(places.threads)}) as server:
        return asyncio.run(cancelled(server, server.grpc, long_request(places), number, leave_s))
