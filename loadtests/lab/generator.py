"""a plan, a share of it → requests sent when they are due, and a sample of each.

No request waits for another: what is late because the server, or this process, is slow is late from
the moment it was due. The clock is not the event loop's, which counts whole milliseconds.
"""

import asyncio
from collections import defaultdict, deque
from collections.abc import Callable, Coroutine
from itertools import islice
from random import Random
from time import perf_counter
from typing import Any

from loadtests.lab.doors import doors
from loadtests.lab.http_client import Heard
from loadtests.lab.plan import Call, Load, Plan
from loadtests.lab.samples import Sample
from loadtests.lab.transports import TRANSPORTS, Transport
from loadtests.results import Fault
from loadtests.serving.goldens import same

MAX_UNDER_WAY = 10_000
"""With more the generator would measure itself."""
STORM = 100
"""So many requests of a door, nearly all failed, and there is nothing left to measure."""
STORM_SHARE = 0.9
GRAVE = frozenset({Fault.FAILED, Fault.LOST, Fault.UNREACHABLE})
"""Faults of a server that is broken or gone; one that refuses or is late works."""
FAULT_PAUSE_S = 0.1
"""What a caller of a closed loop waits after a fault, as a dead server answers at once."""


class Generator:
    """One event loop's share of a plan: every `of`-th request, beginning with `index`."""

    def __init__(
        self, plan: Plan, emit: Callable[[Sample], None], *, index: int = 0, of: int = 1
    ) -> None:
        self.plan, self._emit, self._index, self._of = plan, emit, index, of
        self.stopped = ""
        """Why it ended before its time; empty if it did not."""
        self._doors = doors()
        self._recent: defaultdict[str, deque[bool]] = defaultdict(lambda: deque(maxlen=STORM))
        """Door → whether its last requests failed."""
        self._late = 0
        self._under_way: set[asyncio.Task[None]] = set()
        self._transports: dict[str, Transport] = {}

    async def run(self) -> None:
        """Carry it out, and wait for the last answers."""
        self._over = asyncio.Event()
        self._transports = {
            name: TRANSPORTS[self._doors[name].transport](address, self.plan.timeout_s)
            for name, address in self.plan.addresses.items()
        }
        self._began_s = perf_counter()
        starts_s = 0.0
        for number, load in enumerate(self.plan.loads):
            if self._over.is_set():
                break
            phase = self._open if load.users is None else self._closed
            await phase(number, load, starts_s)
            starts_s = starts_s + load.duration_s if load.users is None else self._now_s()
        await self._end()
        for transport in self._transports.values():
            await transport.close()

    def stop(self, reason: str) -> None:
        """To be called in the loop's thread: nothing more is sent, what is under way dropped."""
        self.stopped = self.stopped or reason
        self._over.set()

    def _now_s(self) -> float:
        return perf_counter() - self._began_s

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def _pause(self, seconds: float) -> None:
        """Sleep, but no longer than until it is stopped."""
        if seconds > 0:
            try:
                await asyncio.wait_for(self._over.wait(), seconds)
            except TimeoutError:
                return

    async def _end(self) -> None:
        """Wait for what is under way, or drop it where the run was stopped."""
        over = asyncio.ensure_future(self._over.wait())
        while self._under_way and not over.done():
            await asyncio.wait({*self._under_way, over}, return_when=asyncio.FIRST_COMPLETED)
        over.cancel()
        for task in self._under_way:
            task.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)

    async def _open(self, number: int, load: Load, starts_s: float) -> None:
        """Every request when it is due, whoever is still waiting."""
        seed = self.plan.seed + number
        schedule = zip(load.moments(Random(seed)), self.plan.choices(load, seed), strict=False)
        for due_s, call in islice(schedule, self._index, None, self._of):
            if (early_s := starts_s + due_s - self._now_s()) > 0:
                await asyncio.sleep(early_s)
            if self._over.is_set():
                return
            if len(self._under_way) > MAX_UNDER_WAY:
                self.stop(f"more than {MAX_UNDER_WAY} requests under way: the server is far behind")
            sample = Sample(number, call.task, call.door, starts_s + due_s)
            self._start(self._one(sample, call))
        await self._pause(starts_s + load.duration_s - self._now_s())

    async def _closed(self, number: int, load: Load, starts_s: float) -> None:
        """Callers who each wait for their answer, or share a heap of requests that are all due."""
        assert load.users
        seed = self.plan.seed + number
        calls = islice(self.plan.choices(load, seed), self._index, None, self._of)
        due = iter(range(self._index, load.backlog, self._of)) if load.backlog else None
        ends_s = starts_s + load.duration_s

        async def caller() -> None:
            while not self._over.is_set() and self._now_s() < ends_s:
                if due is not None and next(due, None) is None:
                    return
                due_s = self._now_s() if due is None else starts_s
                chosen = list(islice(calls, load.samples))
                sample = Sample(
                    number, chosen[0].task, chosen[0].door, due_s, items=load.samples, open=False
                )
                await self._one(sample, *chosen)
                if sample.fault is not None:
                    await self._pause(FAULT_PAUSE_S)

        for _ in range(self._index, load.users, self._of):
            self._start(caller())
        await self._end()

    async def _one(self, sample: Sample, *calls: Call) -> None:
        """Send the calls of one sample together; it is done with the last answer."""
        try:
            sample.sent_s = self._now_s()
            if len(calls) == 1:
                await self._ask(sample, calls[0])
            else:
                await asyncio.gather(*(self._ask(sample, call) for call in calls))
        except asyncio.CancelledError:
            sample.fault, sample.detail = Fault.ABANDONED, self.stopped
            raise
        finally:
            sample.done_s = sample.done_s or self._now_s()
            self._judge(sample)
            self._emit(sample)

    async def _ask(self, sample: Sample, call: Call) -> None:
        door = self._doors[call.door]
        heard: Heard | None = None
        if door.first is not None:
            holds_text = door.first

            def heard(piece: bytes) -> None:
                if sample.first_token_s is None and holds_text(piece):
                    sample.first_token_s = self._now_s()

        got = await self._transports[call.door].ask(call, heard)
        sample.done_s = self._now_s()
        fault, detail = got.fault, got.detail
        if fault is None:
            try:
                answer = door.read(call.target, got.content)
            except ValueError as error:
                fault, detail = Fault.WRONG, f"not an answer: {error}"
            else:
                if call.golden is not None and not same(answer, call.golden):
                    fault, detail = Fault.WRONG, f"{answer} is not {call.golden}"[:500]
                sample.stages = stages_of(answer)
        if fault is not None:
            sample.fault, sample.detail = fault, detail

    def _judge(self, sample: Sample) -> None:
        """End the run where its outcome is certain: a broken server, or too many late answers."""
        recent = self._recent[sample.door]
        recent.append(sample.fault in GRAVE)
        if len(recent) == STORM and sum(recent) >= STORM_SHARE * STORM:
            said = f"{sum(recent)} of the last {STORM} requests on {sample.door} failed"
            self.stop(f"{said}, one of them: {sample.detail}")
        give_up = self.plan.give_up
        if give_up and sample.fault is not Fault.ABANDONED:
            late = sample.latency_ms > give_up.bounds_ms[sample.task]
            self._late += sample.fault is not None or late
            if self._late > give_up.allowed:
                self.stop(f"{self._late} late requests: the bound cannot be kept any more")


def stages_of(answer: object) -> dict[str, float]:
    """Stage → time in ms, where the answer tells them in `timings_ms`."""
    timings = answer.get("timings_ms") if isinstance(answer, dict) else None
    if not isinstance(timings, dict):
        return {}
    return {
        name.removesuffix("_ms"): float(time_ms)
        for name, time_ms in timings.items()
        if isinstance(time_ms, float | int)
    }
