"""the time for all, parts by weight → how much of it each part may take, with what others left."""

import time
from collections.abc import Sequence


class Clock:
    """Asked by each part in turn; what one does not need is left to those after it."""

    def __init__(self, duration_s: float, weights: Sequence[float]) -> None:
        """`weights`: of the parts, in their order."""
        self.ends_s = time.monotonic() + duration_s
        self.weights = list(weights)

    def share_s(self) -> float:
        """Of the next part; 0 where the time is over."""
        left_s, waiting = max(0.0, self.ends_s - time.monotonic()), sum(self.weights)
        own = self.weights.pop(0)
        return left_s * own / waiting if own else 0.0
