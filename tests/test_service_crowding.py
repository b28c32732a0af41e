"""How many rows may decode at once for what was taken in to be in time."""

import math

import pytest

from service.crowding import LONGEST, Crowding, Decoding


@pytest.fixture
def crowding() -> Crowding:
    """Steps take 1 ms and 0.5 ms a row; an item takes two steps for each unit of its cost."""
    known = Crowding(64)
    for rows in (1, 8, 32, 64) * 5:
        known.stepped(rows, 1e-3 + 0.5e-3 * rows)
    for cost in (5, 10, 50) * 5:
        known.ended(cost, 2 * cost)
    return known


def test_as_many_rows_as_there_are_where_everything_is_in_time(crowding: Crowding) -> None:
    assert crowding.rows([Decoding(cost=50, steps=10, left_s=60.0)]) == 64
    assert crowding.rows([Decoding(cost=50, steps=10, left_s=math.inf)]) == 64
    assert crowding.rows([]) == 64


def test_few_rows_where_an_item_would_be_late_among_many(crowding: Crowding) -> None:
    """100 steps on average, 20 made: as many as may be to come may take 10 ms each."""
    hurried = Decoding(cost=50, steps=20, left_s=(LONGEST * 100 - 20) * 0.010)
    assert crowding.rows([hurried]) == pytest.approx(18, abs=1)
    assert crowding.rows([Decoding(cost=5, steps=1, left_s=1.0), hurried]) <= 18


def test_an_item_is_too_late_where_it_would_be_so_even_alone(crowding: Crowding) -> None:
    """80 steps are to come, of 1.5 ms at least."""
    assert crowding.late_s(Decoding(cost=50, steps=20, left_s=0.1)) == pytest.approx(0.02, abs=2e-3)
    assert crowding.late_s(Decoding(cost=50, steps=20, left_s=0.2)) < 0
    assert crowding.late_s(Decoding(cost=50, steps=20, left_s=math.inf)) < 0
    assert crowding.rows([Decoding(cost=50, steps=20, left_s=0.1)]) == 1


def test_an_item_longer_than_foreseen_is_taken_to_end_soon(crowding: Crowding) -> None:
    """One step more of ten."""
    assert crowding.rows([Decoding(cost=5, steps=90, left_s=0.013)]) == pytest.approx(24, abs=1)
    assert crowding.late_s(Decoding(cost=5, steps=90, left_s=0.013)) < 0


def test_before_anything_was_seen_rows_are_not_limited() -> None:
    assert Crowding(16).rows([Decoding(cost=50, steps=0, left_s=0.1)]) == 16
