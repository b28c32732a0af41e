"""pairs of blocks measured in turns → how much B differs from A, and whether that is only noise.

Requests of one block share its luck, so a block and not a request is one observation. If the two
deployments were alike, exchanging them within a pair would change nothing: the share of such
exchanges that show at least the difference seen is the chance of seeing it by luck (a permutation
test). How large the difference is, pairs drawn anew tell (a bootstrap, by percentiles).
"""

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict
from scipy.stats import bootstrap, permutation_test

CONFIDENCE = 0.95
"""Of all answers together: each of several figures gets its share of the doubt (Bonferroni)."""
RESAMPLES = 9_999
BATCH = 500
"""Resamples in memory at a time."""
SEED = 0

Counts = NDArray[np.float64]
Figure = Callable[[Counts], NDArray[np.float64]]
Verdict = Literal["better", "worse", "no difference larger than noise"]


class Difference(BaseModel):
    """One figure of B beside that of A."""

    model_config = ConfigDict(extra="forbid")

    subject: str
    figure: str
    a: float
    b: float
    change: float
    """b / a - 1."""
    low: float
    high: float
    """The confidence interval of the change."""
    chance: float
    """The probability that two equal deployments differ so much."""
    verdict: Verdict


def pairs_needed(figures: int) -> int:
    """The fewest pairs that can tell a difference in so many figures.

    n pairs can be exchanged in 2^n ways, of which two are as extreme as it gets.
    """
    pairs = 2
    while 2.0 ** (1 - pairs) > (1 - CONFIDENCE) / figures:
        pairs += 1
    return pairs


def compare(
    subject: str,
    name: str,
    a: Counts,
    b: Counts,
    figure: Figure,
    *,
    figures: int = 1,
    less_is_better: bool = True,
) -> Difference:
    """Compare what `figure` makes of the summed blocks of A and of B.

    a, b: [pairs, counts], a block in each row; `figure` takes [..., counts] to [...].
    figures: how many are compared in the same measurement.
    Raises ValueError where the pairs are too few to tell anything.
    """
    pairs = len(a)
    if pairs < (needed := pairs_needed(figures)):
        raise ValueError(f"{pairs} pairs of blocks cannot tell {figures} figures; {needed} can")
    blocks = np.concatenate([a, b])

    def change(first: Counts, second: Counts, axis: int = -1) -> NDArray[np.float64]:
        """Which rows of `blocks` are A's and which B's → the log of their figures' ratio."""
        was, now = (_summed(blocks, np.moveaxis(side, axis, -1)) for side in (first, second))
        tiny = np.finfo(np.float64).tiny
        return np.asarray(np.log(np.maximum(figure(now), tiny) / np.maximum(figure(was), tiny)))

    sides = (np.arange(pairs, dtype=float), np.arange(pairs, 2 * pairs, dtype=float))
    options: dict[str, Any] = {"n_resamples": RESAMPLES, "batch": BATCH, "vectorized": True}
    doubt = (1 - CONFIDENCE) / figures
    seen = float(change(*sides))
    test = permutation_test(
        sides, change, permutation_type="samples", rng=np.random.default_rng(SEED), **options
    )
    interval = bootstrap(
        sides, change, paired=True, method="percentile", confidence_level=1 - doubt,
        rng=np.random.default_rng(SEED), **options,
    ).confidence_interval  # fmt: skip
    low, high = float(interval.low), float(interval.high)
    verdict: Verdict = "no difference larger than noise"
    if test.pvalue <= doubt and (low > 0 or high < 0):
        verdict = "better" if (seen < 0) == less_is_better else "worse"
    return Difference(
        subject=subject,
        figure=name,
        a=float(figure(a.sum(axis=0))),
        b=float(figure(b.sum(axis=0))),
        change=float(np.expm1(seen)),
        low=float(np.expm1(low)),
        high=float(np.expm1(high)),
        chance=float(test.pvalue),
        verdict=verdict,
    )


def _summed(blocks: Counts, rows: Counts) -> Counts:
    """[blocks, counts] and row numbers [..., pairs] → the sums of those rows, [..., counts]."""
    flat = rows.astype(int).reshape(-1, rows.shape[-1])
    weights = np.zeros((len(flat), len(blocks)))
    np.add.at(weights, (np.arange(len(flat))[:, None], flat), 1.0)
    return np.asarray((weights @ blocks).reshape(*rows.shape[:-1], blocks.shape[1]))
