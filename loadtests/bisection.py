"""a first rate → the next rates to try, until the one that holds is close to the one that fails."""

from collections.abc import Generator
from math import sqrt


def rates(
    start_per_s: float, precision: float, *, step: float = 2.0, least_per_s: float = 0.1
) -> Generator[float, bool, None]:
    """Yields rates; is sent whether each held.

    Goes up or down by `step` until one rate holds and one fails, then halves the gap. Rates are
    compared by ratio, so the middle is the geometric one. Ends without a rate that held below
    `least_per_s`.
    """
    low = high = start_per_s
    if (yield start_per_s):
        high *= step
        while (yield high):
            low, high = high, high * step
    else:
        held = False
        while not held:
            if low <= least_per_s:
                return
            low, high = low / step, low
            held = yield low
    while high / low > precision:
        middle = sqrt(low * high)
        if (yield middle):
            low = middle
        else:
            high = middle
