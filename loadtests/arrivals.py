"""a rate → the moments at which requests are due.

A caller who waits for each answer sends nothing while the service stalls, and so never sees the
stall. With a rate the moments are a Poisson process that does not wait, and a request's time
counts from when it was due, not from when a free caller sent it.
"""

from math import inf
from random import Random
from time import perf_counter

import gevent
from gevent.lock import Semaphore
from locust.exception import StopUser


class Arrivals:
    """Shared by the callers of one door; without a rate every caller is due at once."""

    def __init__(self, *, rate_per_s: float | None = None, duration_s: float = inf) -> None:
        self._rate_per_s = rate_per_s
        self._random = Random(0)
        self._due_s = perf_counter()
        self._end_s = self._due_s + duration_s
        self._next = Semaphore()

    def wait(self) -> float:
        """Sleep until the next request is due, and return when that was; StopUser at the end."""
        with self._next:
            if self._rate_per_s is None:
                due_s = perf_counter()
            else:
                due_s = self._due_s = self._due_s + self._random.expovariate(self._rate_per_s)
            if due_s > self._end_s:
                raise StopUser
            if (early_s := due_s - perf_counter()) > 0:
                gevent.sleep(early_s)
            return due_s
