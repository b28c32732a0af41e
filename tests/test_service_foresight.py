"""How long a request will take, learnt from those before it."""

from random import Random

import pytest

from service.foresight import IN_TIME, LEAST, RESERVE, WORST, Duration, Foresight, Pace


def test_a_pace_follows_what_was_done_last() -> None:
    pace = Pace()
    assert pace.time_of(100) == 0
    pace.add(1_000, 1.0)
    assert pace.time_of(100) == pytest.approx(0.1)
    for _ in range(20):
        pace.add(100, 1.0)
    assert pace.time_of(100) == pytest.approx(1.0, rel=0.05)


def test_a_duration_is_a_line_through_cost_and_time() -> None:
    duration = Duration()
    assert duration.time_of(10) == 0
    for cost in (1, 5, 9, 30) * 10:
        duration.add(cost, 0.2 + 0.01 * cost)
    assert duration.time_of(100) == pytest.approx(1.2)


@pytest.mark.parametrize("costs", [(10,), (10, 10, 10)])
def test_one_cost_alone_gives_a_duration_in_proportion(costs: tuple[int, ...]) -> None:
    duration = Duration()
    for cost in costs:
        duration.add(cost, 0.5)
    assert duration.time_of(20) == pytest.approx(1.0)


def test_a_duration_never_falls_with_the_cost_nor_below_zero() -> None:
    falling, steep = Duration(), Duration()
    for cost in (1, 2, 3):
        falling.add(cost, 1 / cost)
        steep.add(cost, cost - 1)
    assert falling.time_of(50) == falling.time_of(1) > 0
    assert steep.time_of(0.1) >= 0


def learnt(*ratios: float) -> Foresight:
    foresight = Foresight()
    for ratio in ratios:
        foresight.judge(expected_s=1.0, allowed_s=2.0, taken_s=ratio)
    return foresight


def test_so_much_is_foreseen_that_all_but_one_in_a_hundred_are_in_time() -> None:
    random = Random(0)
    ratios = [random.lognormvariate(0, 0.5) for _ in range(20_000)]
    needed_s = learnt(*ratios).needed_s(1.0) / RESERVE
    assert sum(ratio <= needed_s for ratio in ratios) / len(ratios) == pytest.approx(
        IN_TIME, abs=0.006
    )


def test_what_stands_still_for_a_moment_does_not_close_the_door_for_long() -> None:
    assert learnt(*[100.0] * 1_000).needed_s(1.0) == WORST * RESERVE


def test_calm_times_do_not_make_it_careless() -> None:
    assert learnt(*[0.1] * 100_000).needed_s(1.0) == LEAST * RESERVE


def test_what_had_plenty_of_time_teaches_nothing() -> None:
    foresight = Foresight()
    foresight.judge(expected_s=0.01, allowed_s=1.0, taken_s=0.5)
    assert foresight.ratio == LEAST
