"""A/B: a real difference is told from noise, and equal deployments are not called different."""

from collections.abc import Callable

import numpy as np
import pytest

from loadtests.verdict import differences
from loadtests.verdict.differences import Counts, Difference, compare, pairs_needed

NOISE = "no difference larger than noise"


def median_of(values: Counts) -> Callable[[Counts], Counts]:
    def median(counts: Counts) -> Counts:
        reached = np.cumsum(counts, axis=-1)
        return np.asarray(values[(reached < reached[..., -1:] / 2).sum(axis=-1)])

    return median


def measured(effect: float, *, seed: int, pairs: int = 12) -> Difference:
    """B is slower by this share; both share the weather of their pair, and each block its own."""
    random = np.random.default_rng(seed)
    weather = random.normal(0, 0.2, (pairs, 1, 1)) + random.normal(0, 0.03, (pairs, 2, 1))
    times = np.exp(3 + weather + random.normal(0, 0.5, (pairs, 2, 100)))
    times[:, 1] *= 1 + effect
    times = np.round(times)
    values = np.unique(times)
    counts = (times[..., None] == values).sum(axis=2).astype(float)
    return compare("translation REST", "p50_ms", counts[:, 0], counts[:, 1], median_of(values))


@pytest.fixture(autouse=True)
def _fewer_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(differences, "RESAMPLES", 499)


def test_a_real_difference_is_found_with_its_size() -> None:
    slower = measured(0.3, seed=0)
    assert slower.verdict == "worse"
    assert slower.low < 0.3 < slower.high
    assert slower.b / slower.a - 1 == pytest.approx(slower.change)
    assert measured(-0.3, seed=0).verdict == "better"


def test_equal_deployments_are_rarely_called_different() -> None:
    verdicts = [measured(0.0, seed=seed).verdict for seed in range(40)]
    assert verdicts.count(NOISE) >= 36  # 95 % of 40 are 38


def test_the_interval_holds_the_truth() -> None:
    found = [measured(0.1, seed=seed) for seed in range(40)]
    assert sum(each.low <= 0.1 <= each.high for each in found) >= 34


def test_two_of_the_same_differ_by_nothing() -> None:
    counts = np.tile([3.0, 2.0, 1.0], (8, 1))
    same = compare("t", "p50_ms", counts, counts, median_of(np.array([1.0, 2.0, 3.0])))
    assert (same.change, same.low, same.high, same.verdict) == (0.0, 0.0, 0.0, NOISE)


def test_more_throughput_is_better() -> None:
    random = np.random.default_rng(0)
    a = random.normal(100, 2, (10, 1))
    more = compare("t", "per_s", a, a * 1.2, lambda sums: sums[..., 0], less_is_better=False)
    assert more.verdict == "better"


def test_a_block_of_bad_luck_does_not_make_a_difference() -> None:
    random = np.random.default_rng(0)
    a, b = random.normal(100, 2, (10, 1)), random.normal(100, 2, (10, 1))
    b[3] *= 5
    assert compare("t", "mean", a, b, lambda sums: sums[..., 0]).verdict == NOISE


def test_the_more_figures_the_more_pairs_are_needed() -> None:
    assert [pairs_needed(figures) for figures in (1, 2, 12)] == [6, 7, 9]
    counts = np.ones((5, 1))
    with pytest.raises(ValueError, match="5 pairs of blocks cannot tell 1 figures; 6 can"):
        compare("t", "mean", counts, counts, lambda sums: sums[..., 0])
