"""Who is next, who is refused, and what the refused are told."""

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence
from time import monotonic
from typing import Any

import pytest

from service import telemetry, waiting
from service.errors import Overloaded, Unavailable
from service.foresight import LEAST, RESERVE
from service.telemetry import Labels
from service.waiting import Entry, Waiting


def with_queue(scenario: Callable[[Waiting], Awaitable[Any]], *, max_cost: int = 100) -> None:
    async def run() -> None:
        await scenario(Waiting(Labels("queues", "queueing"), max_cost=max_cost))

    asyncio.run(run())


def add(queue: Waiting, name: str, *costs: int, **given: Any) -> list[Entry]:
    items: list[Any] = [{"name": f"{name}{index}"} for index in range(len(costs))]
    return queue.add(items, costs, **given)


def names(entries: Sequence[Entry]) -> list[Any]:
    return [entry.item["name"] for entry in entries]


def everything(entry: Entry, taken: list[Entry]) -> bool:
    return True


def one(entry: Entry, taken: list[Entry]) -> bool:
    return not taken


def never() -> bool:
    return False


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now_s = [100.0]
    monkeypatch.setattr(waiting, "monotonic", lambda: now_s[0])
    return now_s


def at_pace(queue: Waiting, clock: list[float], cost_per_s: float) -> list[Entry]:
    """Let the queue see so much cost taken each second while others wait; returns it."""
    seen = add(queue, "seen", round(cost_per_s), 1)
    queue.take(one, wait=never)
    clock[0] += 1
    queue.take(everything, wait=never)
    return seen


def computed(queue: Waiting, clock: list[float], cost: int, time_s: float) -> None:
    """Let the queue see an item of that cost take so long, without waiting."""
    (entry,) = add(queue, "seen", cost)
    assert queue.take(everything, wait=never) == [entry]
    clock[0] += time_s
    queue.computed(entry, clock[0])
    entry.future.cancel()


def refused(reason: str) -> float:
    value = telemetry.REGISTRY.get_sample_value(
        "attendant_rejected_total", {"task": "queues", "model": "queueing", "reason": reason}
    )
    return value or 0.0


def test_first_come_first_served() -> None:
    async def scenario(queue: Waiting) -> None:
        for name in "abc":
            add(queue, name, 1, 1)
        assert names(queue.take(everything, wait=never)) == ["a0", "a1", "b0", "b1", "c0", "c1"]

    with_queue(scenario)


def test_a_short_request_passes_the_end_of_a_long_one_and_never_its_beginning(
    clock: list[float],
) -> None:
    async def scenario(queue: Waiting) -> None:
        at_pace(queue, clock, 10)
        add(queue, "long", *[5] * 4)  # places half a second apart
        clock[0] += 0.6
        add(queue, "short", 1)
        clock[0] += 5
        add(queue, "late", 1)
        order = ["long0", "long1", "short0", "long2", "long3", "late0"]
        assert names(queue.take(everything, wait=never)) == order

    with_queue(scenario)


def test_a_higher_priority_goes_first_but_no_longer_than_its_step(clock: list[float]) -> None:
    async def scenario(queue: Waiting) -> None:
        add(queue, "early", 1)
        clock[0] += 0.5 * waiting.PRIORITY_S
        add(queue, "urgent", 1, priority=1)
        add(queue, "idle", 1, priority=-1)
        clock[0] += waiting.PRIORITY_S
        add(queue, "late", 1, priority=1)
        order = ["urgent0", "early0", "late0", "idle0"]
        assert names(queue.take(everything, wait=never)) == order

    with_queue(scenario)


def test_only_what_fits_is_taken_and_the_rest_keeps_its_order() -> None:
    async def scenario(queue: Waiting) -> None:
        add(queue, "a", 1, 9, 1)
        cheap = queue.take(lambda entry, taken: entry.cost < 5, wait=never)
        assert names(cheap) == ["a0"]
        assert names(queue.take(everything, wait=never)) == ["a1", "a2"]

    with_queue(scenario)


def test_a_full_queue_refuses_and_says_when_it_has_room(clock: list[float]) -> None:
    async def scenario(queue: Waiting) -> None:
        at_pace(queue, clock, 10)
        add(queue, "a", 80)
        before = refused("queue")
        with pytest.raises(Overloaded, match="queue of queueing is full") as caught:
            add(queue, "b", 40)
        assert caught.value.retry_after_s == pytest.approx(2, rel=0.01)
        assert refused("queue") == before + 1
        add(queue, "c", 20)

    with_queue(scenario)


def test_what_would_come_too_late_is_refused_at_once(clock: list[float]) -> None:
    async def scenario(queue: Waiting) -> None:
        at_pace(queue, clock, 10)
        computed(queue, clock, 5, 0.5)
        add(queue, "a", 30)
        needed_s = (3 + 0.2) * LEAST * RESERVE
        before = refused("deadline")
        with pytest.raises(Overloaded, match=f"{needed_s - 2:.2f} s after the deadline") as caught:
            add(queue, "b", 1, 2, 1, deadline_s=clock[0] + 2)
        assert caught.value.retry_after_s == pytest.approx(needed_s - 2, rel=0.01)
        assert refused("deadline") == before + 1
        add(queue, "c", 1, deadline_s=clock[0] + needed_s)
        with pytest.raises(Overloaded, match="after the deadline"):
            add(queue, "long", 20, deadline_s=clock[0] + needed_s)

    with_queue(scenario)


def test_a_request_nobody_has_read_is_foreseen_to_cost_what_is_usual(clock: list[float]) -> None:
    async def scenario(queue: Waiting) -> None:
        queue.foresee(clock[0], coming=0)  # nothing is known, so nothing is refused
        at_pace(queue, clock, 10)
        for _ in range(500):
            add(queue, "usual", 5)
            queue.take(everything, wait=never)
        soon_s = clock[0] + 8 * 0.5 * LEAST * RESERVE
        queue.foresee(soon_s, coming=6)
        with pytest.raises(Overloaded, match="after the deadline"):
            queue.foresee(soon_s, coming=9)
        with pytest.raises(Overloaded, match="is full"):
            queue.foresee(math.inf, coming=21)

    with_queue(scenario)


def test_late_answers_make_the_door_refuse_sooner(clock: list[float]) -> None:
    async def scenario(queue: Waiting) -> None:
        at_pace(queue, clock, 10)
        allowed_s = 2 * LEAST * RESERVE + 0.1

        def late() -> None:
            add(queue, "before", 20)
            (entry,) = add(queue, "late", 1, deadline_s=clock[0] + allowed_s)
            queue.take(everything, wait=never)
            clock[0] += allowed_s
            entry.future.cancel()
            queue.leave(entry)

        late()
        with pytest.raises(Overloaded, match="after the deadline"):
            late()

    with_queue(scenario, max_cost=1_000)


def test_what_a_rush_has_taught_is_forgotten_once_nothing_is_left_to_do(clock: list[float]) -> None:
    async def scenario(queue: Waiting) -> None:
        under_way = at_pace(queue, clock, 10)
        allowed_s = 2 * LEAST * RESERVE + 0.1
        under_way += add(queue, "before", 20)
        (late,) = add(queue, "late", 1, deadline_s=clock[0] + allowed_s)
        queue.take(everything, wait=never)
        clock[0] += allowed_s
        late.future.cancel()
        queue.leave(late)
        for entry in under_way:
            entry.future.cancel()
        add(queue, "first", 20)
        add(queue, "next", 1, deadline_s=clock[0] + allowed_s)

    with_queue(scenario, max_cost=1_000)


def test_who_has_waited_too_long_to_be_in_time_is_turned_away_and_never_begins(
    clock: list[float],
) -> None:
    async def scenario(queue: Waiting) -> None:
        computed(queue, clock, 10, 1)
        running = add(queue, "running", 10)
        assert queue.take(everything, wait=never) == running
        (late,) = add(queue, "late", 10, deadline_s=clock[0] + 4)
        (left,) = add(queue, "left", 10, deadline_s=clock[0] + 4)
        (good,) = add(queue, "good", 10, deadline_s=clock[0] + 5)
        clock[0] += 2.5
        before, cost = refused("deadline"), queue.cost
        assert queue.take(everything, wait=never) == [good]
        left.future.cancel()
        queue.leave(left)
        with pytest.raises(Overloaded, match=r"0\.50 s after the deadline"):
            await late.future
        assert (refused("deadline"), queue.cost) == (before + 1, cost - 30)

    with_queue(scenario)


def test_what_an_idle_model_would_answer_too_late_is_tried(clock: list[float]) -> None:
    async def scenario(queue: Waiting) -> None:
        computed(queue, clock, 10, 1)
        entries = add(queue, "slow", 10, 10, deadline_s=clock[0] + 1)
        assert queue.take(everything, wait=never) == entries[:1]

    with_queue(scenario)


def test_as_long_as_nothing_is_known_of_the_pace_nobody_is_too_late() -> None:
    async def scenario(queue: Waiting) -> None:
        add(queue, "a", 90)
        add(queue, "b", 1, deadline_s=monotonic() + 0.001)

    with_queue(scenario)


def test_the_room_of_one_who_leaves_is_free_at_once_and_the_item_is_never_taken() -> None:
    async def scenario(queue: Waiting) -> None:
        (gone,) = add(queue, "gone", 70)
        gone.future.cancel()
        queue.leave(gone)
        assert queue.cost == 0
        add(queue, "stays", 70)
        assert names(queue.take(everything, wait=never)) == ["stays0"]
        assert queue.cost == 0

    with_queue(scenario)


def test_what_has_expired_is_not_taken(clock: list[float]) -> None:
    async def scenario(queue: Waiting) -> None:
        add(queue, "old", 1, deadline_s=clock[0] + 1)
        add(queue, "new", 1, deadline_s=math.inf)
        clock[0] += 2
        assert names(queue.take(everything, wait=never)) == ["new0"]

    with_queue(scenario)


def test_a_closed_queue_takes_nothing_in_and_gives_out_what_waits() -> None:
    async def scenario(queue: Waiting) -> None:
        add(queue, "a", 1)
        queue.close()
        with pytest.raises(Unavailable, match="shutting down"):
            add(queue, "b", 1)
        assert not queue.over
        assert names(queue.take(everything, wait=never)) == ["a0"]
        assert queue.over

    with_queue(scenario)
