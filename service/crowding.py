"""steps seen, items that decode → how many rows there may be for all of them to be in time.

A step of many rows takes longer than one of few: whoever joins delays those who are there. What
was taken in is kept first, and others join as long as it stays in time.
"""

import math
from collections.abc import Iterable
from typing import NamedTuple

from service.foresight import Duration

LONGEST = 2.0
"""How many times as many steps as items of its cost on average an item may take: how many tokens it
will have nobody knows."""
LAST = 0.1
"""One that takes still more is taken to need such a part of them from now on."""


class Decoding(NamedTuple):
    """An item between two steps."""

    cost: int
    steps: int
    """Made so far."""
    left_s: float
    """Until its deadline."""


class Crowding:
    """Learns how long steps of so many rows take, and how many steps items of some cost take."""

    def __init__(self, most_rows: int) -> None:
        self.most_rows = most_rows
        self._step_s, self._steps = Duration(), Duration()

    def stepped(self, rows: int, took_s: float) -> None:
        """A step of so many rows took so long, with all that was done since the one before."""
        self._step_s.add(rows, took_s)

    def ended(self, cost: int, steps: int) -> None:
        """An item of that cost had its last token with that step."""
        self._steps.add(cost, steps)

    def late_s(self, each: Decoding) -> float:
        """How much too late an item would be that decoded alone from now on; below 0 if it may be
        in time."""
        to_come = max(self._steps.time_of(each.cost) - each.steps, 1.0)
        return to_come * self._step_s.time_of(1) - each.left_s

    def rows(self, decoding: Iterable[Decoding]) -> int:
        """So many rows may decode at once for all of these to be in time."""
        most: float = self.most_rows
        for each in decoding:
            usual = self._steps.time_of(each.cost)
            to_come = max(LONGEST * usual - each.steps, LAST * usual, 1.0)
            most = min(most, self._step_s.cost_in(each.left_s / to_come))
        return max(1, math.floor(most))
