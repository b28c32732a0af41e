"""late answers among many → whether a percentile may be claimed, with a confidence of 99 %.

A percentile holds if at least n requests were seen, the smallest n for which so few late ones would
be chance in at most 1 % of runs: early stopping as in MLPerf Inference's rules.
"""

from math import exp, lgamma, log, log1p

DOUBT = 0.01


def _chance(requests: int, late: int, share: float) -> float:
    """The probability of at most so many late ones where each is late with this probability."""
    # By logarithms: of thousands of requests the binomials are larger than a float can be.
    return sum(
        exp(
            lgamma(requests + 1) - lgamma(k + 1) - lgamma(requests - k + 1)
            + k * log(share) + (requests - k) * log1p(-share)
        )
        for k in range(late + 1)
    )  # fmt: skip


def requests_needed(late: int, percentile: float = 0.99) -> int:
    """The fewest requests, with so many late ones, of which the percentile may be claimed."""
    share = 1 - percentile
    high = late + 1
    while _chance(high, late, share) > DOUBT:
        high *= 2
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _chance(middle, late, share) > DOUBT else (low, middle)
    return high


def most_late(requests: int, percentile: float = 0.99) -> int:
    """How many of so many requests may be late; -1 where there are too few to claim anything."""
    late = -1
    while requests_needed(late + 1, percentile) <= requests:
        late += 1
    return late
