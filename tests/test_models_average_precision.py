"""Average precision is COCO's: right by class and overlap, the surest first."""

import pytest

from models.average_precision import AT_HALF, OVER_ALL, average_precision
from service.tasks.object_detection import Box, Detection


def at(left: int, label: str = "Bag", score: float = 1.0, broad: int = 20) -> Detection:
    box = Box(xmin=left, ymin=10, xmax=left + broad, ymax=30)
    return Detection(label=label, score=score, box=box)


THERE = [[at(0), at(30)], [at(10, "Coat")]]


def test_all_found_and_nothing_else_is_a_hundred() -> None:
    assert average_precision(THERE, THERE) == {AT_HALF: 100, OVER_ALL: 100}


def test_nothing_found_is_nothing() -> None:
    assert average_precision([[], []], THERE) == {AT_HALF: 0, OVER_ALL: 0}


def test_it_is_the_mean_over_the_classes() -> None:
    found = [THERE[0], [at(10, "Bag", score=0.1)]]
    assert average_precision(found, THERE)[AT_HALF] == pytest.approx(50)


def test_a_box_that_is_off_counts_at_half_and_not_at_all_thresholds() -> None:
    found = [[at(0, broad=15), at(30, broad=15)], [at(10, "Coat", broad=15)]]
    scored = average_precision(found, THERE)
    assert scored[AT_HALF] == pytest.approx(100)
    assert 40 < scored[OVER_ALL] < 70


def test_the_same_object_found_twice_counts_once() -> None:
    twice = [[at(0, score=0.9), at(0, score=0.8), at(30, score=0.1)], THERE[1]]
    assert average_precision(twice, THERE)[AT_HALF] == pytest.approx(100 * (1 + 5 / 6) / 2, abs=1)


def test_a_wrong_guess_before_a_right_one_costs_precision_and_one_behind_it_does_not() -> None:
    before = average_precision(
        [[at(60, score=0.9), *THERE[0]], THERE[1]], [[at(0, score=0.5)], THERE[1]]
    )
    behind = average_precision([[*THERE[0], at(60, score=0.1)], THERE[1]], THERE)
    assert behind[AT_HALF] == pytest.approx(100)
    assert before[AT_HALF] < 100
