"""what was seen of cost and time → how long a request will take, and how far that may be off.

A service that is asked for too much lives by this: what it takes in and cannot answer in time was
computed for nobody, and what it could have answered it must not refuse.
"""

import math

LEAST = 1.8
"""Also the first guess: what calm times teach does not hold in the moment a rush begins."""
IN_TIME, LEARNING = 0.99, 0.02
"""Of the answers that are foreseen to come late, so many shall be in time; and how much one of them
changes the foresight."""
WORST = 8.0
"""A moment at which everything stood still is not to close the door for long."""
RESERVE = 1.4
"""The part of the time allowed in which they shall come, as its inverse."""
HALF_LIFE_S = 2.0
"""Of what is remembered about the speed: busy seconds until it counts half."""
HALF_LIFE_ITEMS = 200
"""Of what is remembered about the items."""


class Pace:
    """Cost per second, over the last busy seconds."""

    def __init__(self) -> None:
        self.cost = self.time_s = 0.0

    def add(self, cost: float, time_s: float) -> None:
        kept = 0.5 ** (time_s / HALF_LIFE_S)
        self.cost, self.time_s = self.cost * kept + cost, self.time_s * kept + time_s

    def time_of(self, cost: float) -> float:
        """How long so much takes; 0 as long as nothing is known."""
        return cost * self.time_s / self.cost if self.cost else 0.0


class Duration:
    """How long items take beside others: a line through what was seen of cost and time.

    Not in proportion to the cost: an item of ten words waits for as many steps as one of eight
    does before it has its first row. Least squares, in which older items count less.
    """

    def __init__(self) -> None:
        self._sums = (0.0,) * 5
        self._slope = self._least_s = 0.0

    def add(self, cost: float, time_s: float) -> None:
        kept = 0.5 ** (1 / HALF_LIFE_ITEMS)
        seen = (1.0, cost, time_s, cost * cost, cost * time_s)
        self._sums = tuple(kept * old + new for old, new in zip(self._sums, seen, strict=True))
        n, costs, times, squares, products = self._sums
        spread = n * squares - costs * costs
        in_proportion = times / costs if costs else 0.0
        line = (n * products - costs * times) / spread if spread > 1e-6 * squares else math.inf
        # As if nothing were fixed where no line, or one that falls below zero, fits better.
        self._slope = min(max(line, 0.0), in_proportion)
        self._least_s = (times - self._slope * costs) / n

    def time_of(self, cost: float) -> float:
        """How long an item of that cost takes on average; 0 as long as nothing is known."""
        return self._least_s + self._slope * cost

    def cost_in(self, time_s: float) -> float:
        """The cost of an item that takes so long; infinite where the cost makes no difference."""
        return (time_s - self._least_s) / self._slope if self._slope else math.inf


class Foresight:
    """How many times as long as expected answers take, at most: followed as a quantile.

    Only close calls are judged. What an almost empty queue expects is so short that any delay is a
    multiple of it, and says nothing of a long one.
    """

    def __init__(self) -> None:
        self.ratio = LEAST

    def needed_s(self, expected_s: float) -> float:
        """The time that must be left for what is expected to take so long."""
        return expected_s * self.ratio * RESERVE

    def rest(self) -> None:
        """Forget the last rush: nothing waits any more, and the next one will teach anew."""
        self.ratio = LEAST

    def judge(self, *, expected_s: float, allowed_s: float, taken_s: float) -> None:
        """Learn from an answer, or from one that did not come within `taken_s`."""
        if 2 * self.needed_s(expected_s) < allowed_s:
            return
        late = taken_s > expected_s * self.ratio
        self.ratio *= math.exp(LEARNING * (late - (1 - IN_TIME)))
        self.ratio = min(max(self.ratio, LEAST), WORST)
