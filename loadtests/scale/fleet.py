"""arrivals, workers that batch → the latency of every request: a simulation of queues.

Arrivals are Poisson's. A worker takes what waits, up to a full batch, and a batch of n takes
`fixed_ms + n * per_item_ms` on the worker's own cores; where more threads are busy than there are
cores, all of them are slowed alike (processor sharing).
"""

import heapq
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import Literal

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

Balance = Literal["least", "random"]
"""Whoever has the fewest requests, as a balancer chooses, or anybody, as a kernel does."""
EACH = 4_000
"""Requests for each worker: a queue that grows slowly has to be seen to grow."""
LEAST_CORES = 0.1
"""Left to workers by a caller who would take more than there are."""
STEPS = 8
"""Of a bisection, below what full batches would give."""


@dataclass(frozen=True)
class Pace:
    """How long a batch takes on so many threads, alone on the machine."""

    fixed_ms: float
    per_item_ms: float
    rows: int
    """Of a full batch."""
    threads: float
    """Cores that it keeps busy."""
    parallel: float = 0.9
    """Share of the work that threads divide (Amdahl)."""

    @classmethod
    def measured(cls, alone_ms: float, rate_per_s: float, rows: int, threads: float) -> "Pace":
        """From the latency of a request alone, and the rate at which batches are full."""
        full_ms = 1e3 * rows / rate_per_s
        per_item_ms = max((full_ms - alone_ms) / (rows - 1), 0.0) if rows > 1 else 0.0
        return cls(max(alone_ms - per_item_ms, 0.0), per_item_ms, rows, threads)

    def on(self, threads: float) -> "Pace":
        """The same work on another number of threads."""
        ratio = self._share(threads) / self._share(self.threads)
        fixed_ms, per_item_ms = self.fixed_ms * ratio, self.per_item_ms * ratio
        return Pace(fixed_ms, per_item_ms, self.rows, threads, self.parallel)

    def _share(self, threads: float) -> float:
        return 1 - self.parallel + self.parallel / threads

    def batch_s(self, items: int) -> float:
        return (self.fixed_ms + items * self.per_item_ms) / 1e3

    @property
    def capacity_per_s(self) -> float:
        """With full batches only."""
        return self.rows / self.batch_s(self.rows)


@dataclass(frozen=True)
class Fleet:
    """So many workers of one pace on so many cores, all of them together."""

    pace: Pace
    workers: int
    cores: float
    balance: Balance = "least"
    caller_s: float = 0.0
    """What a request takes of the same cores before it comes: its caller runs there, too."""

    def latencies_s(
        self, rate_per_s: float, *, requests: int | None = None, seed: int = 0
    ) -> Float[NDArray[np.float64], " requests"]:
        """Of each request, in the order in which they came."""
        random, requests = np.random.default_rng(seed), requests or EACH * self.workers
        came_s = np.cumsum(random.exponential(1 / rate_per_s, requests))
        anybody = random.integers(self.workers, size=requests).tolist()
        done_s = np.zeros(requests)
        waiting: list[deque[int]] = [deque() for _ in range(self.workers)]
        running: list[list[int]] = [[] for _ in range(self.workers)]
        ends: list[tuple[float, int]] = []  # on a clock that goes as fast as all work does
        clock_s, now_s, coming = 0.0, 0.0, 0
        cores = max(self.cores - rate_per_s * self.caller_s, LEAST_CORES)

        def begin(worker: int) -> None:
            batch = [waiting[worker].popleft() for _ in range(self._taken(waiting[worker]))]
            running[worker] = batch
            if batch:
                heapq.heappush(ends, (clock_s + self.pace.batch_s(len(batch)), worker))

        while coming < requests or ends:
            speed = min(1.0, cores / (len(ends) * self.pace.threads)) if ends else 1.0
            end_s = now_s + (ends[0][0] - clock_s) / speed if ends else inf
            if coming < requests and came_s[coming] <= end_s:
                clock_s += (came_s[coming] - now_s) * speed
                now_s = float(came_s[coming])
                worker = self._chosen(anybody[coming], waiting, running)
                waiting[worker].append(coming)
                coming += 1
                if not running[worker]:
                    begin(worker)
            else:
                clock_s, worker = heapq.heappop(ends)
                now_s = end_s
                done_s[running[worker]] = now_s
                begin(worker)
        return done_s - came_s

    def _taken(self, waiting: Sequence[int]) -> int:
        return min(len(waiting), self.pace.rows)

    def _chosen(
        self, anybody: int, waiting: Sequence[Sequence[int]], running: Sequence[Sequence[int]]
    ) -> int:
        if self.balance == "random":
            return anybody
        start = range(anybody, anybody + self.workers)  # ties go to anybody
        return min(
            (worker % self.workers for worker in start),
            key=lambda worker: len(waiting[worker]) + len(running[worker]),
        )

    @property
    def _capacity_per_s(self) -> float:
        together = min(1.0, self.cores / (self.workers * self.pace.threads))
        return self.workers * self.pace.capacity_per_s * together

    def highest_per_s(self, bound_ms: float, *, ratio: float = 0.99, seed: int = 0) -> float:
        """The highest rate at which that share of the requests keeps the bound."""
        low, high = 0.0, self._capacity_per_s
        for _ in range(STEPS):
            rate = (low + high) / 2
            late_ms = 1e3 * float(np.quantile(self.latencies_s(rate, seed=seed), ratio))
            low, high = (rate, high) if late_ms <= bound_ms else (low, rate)
        return low
