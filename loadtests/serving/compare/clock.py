"""the time of a run, servers by weight → how much of it each may take, with what others left."""

import time
from collections.abc import Sequence


class Clock:
    """Told of each server in turn; whoever needs less leaves the rest to those after it."""

    def __init__(self, duration_s: float, weights: Sequence[float]) -> None:
        """`weights`: of the servers, in their order."""
        self.ends_s = time.monotonic() + duration_s
        self.weights = list(weights)

    def share_s(self) -> float:
        """Of the next server; 0 where the time is over."""
        left_s, waiting = max(0.0, self.ends_s - time.monotonic()), sum(self.weights)
        return left_s * self.weights.pop(0) / waiting
