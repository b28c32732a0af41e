"""The Fréchet distance: nothing between equals, and what is known between bell curves."""

import numpy as np
import pytest

from models import frechet


def crowd(mean: float, deviation: float, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(mean, deviation, (20_000, 3))


def test_a_crowd_is_at_no_distance_from_itself() -> None:
    assert frechet.between(crowd(1, 2), crowd(1, 2)) == pytest.approx(0, abs=1e-6)


def test_the_distance_of_two_bell_curves_is_that_of_their_parameters() -> None:
    # a difference of means of 2 in three directions, and one of deviations of 1
    found = frechet.between(crowd(0, 1), crowd(2, 2, seed=1))
    assert found == pytest.approx(3 * 2**2 + 3 * 1**2, rel=0.05)


def test_the_distance_is_the_same_either_way() -> None:
    one, other = crowd(0, 1), crowd(1, 3, seed=1)
    assert frechet.between(one, other) == pytest.approx(frechet.between(other, one))
