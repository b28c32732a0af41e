"""Batches form while the model is busy, bounded by cost; no item suffers for another."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import numpy as np
import pytest

from service.batcher import Batcher
from service.errors import Overloaded, Unavailable
from service.tasks import Item, Row
from service.telemetry import Labels
from service.waiting import Answer


def item(value: int) -> Item:
    return {"value": np.array(value)}


def value_of(answer: Answer) -> int:
    return int(answer.row["double"])


class Gate:
    """A model that doubles its items, holds each batch until it is let through, and keeps count."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.bad: set[int] = set()
        self.started = threading.Semaphore(0)
        self.held = False
        self.opened = threading.Semaphore(0)
        self.stopped = 0

    def forward(self, items: Sequence[Item]) -> list[Row]:
        values = [int(one["value"]) for one in items]
        self.batches.append(values)
        self.started.release()
        if self.held:
            assert self.opened.acquire(timeout=10), "nobody let the batch through"
        if self.bad & set(values):
            raise ValueError("a bad item")
        return [{"double": np.array(2 * value)} for value in values]

    def stop(self) -> None:
        self.stopped += 1
        self.opened.release()

    async def busy(self) -> None:
        """Wait until the model has taken a batch."""
        assert await asyncio.to_thread(self.started.acquire, timeout=10)


def with_batcher(
    scenario: Callable[[Batcher, Gate], Awaitable[Any]],
    *,
    max_batch_cost: int = 8,
    max_queue_cost: int = 100,
) -> None:
    async def run() -> None:
        gate = Gate()
        batcher = Batcher(
            Labels("numbers", "doubling"),
            gate.forward,
            lambda one: int(one["value"]),
            max_batch_cost=max_batch_cost,
            max_queue_cost=max_queue_cost,
            stop=gate.stop,
        )
        async with asyncio.timeout(20):
            await scenario(batcher, gate)
            await batcher.close()

    asyncio.run(run())


def asked(batcher: Batcher, *values: int) -> "asyncio.Task[list[Answer]]":
    return asyncio.create_task(batcher.submit([item(value) for value in values]))


def test_requests_that_arrive_together_are_one_batch_and_each_gets_its_own_rows() -> None:
    async def scenario(batcher: Batcher, gate: Gate) -> None:
        answers = await asyncio.gather(asked(batcher, 1, 2), asked(batcher, 3))
        assert [[value_of(answer) for answer in of] for of in answers] == [[2, 4], [6]]
        assert gate.batches == [[1, 2, 3]]
        assert all(answer.began_s <= answer.ended_s for of in answers for answer in of)

    with_batcher(scenario)


def test_a_lone_request_does_not_wait_for_company() -> None:
    async def scenario(batcher: Batcher, gate: Gate) -> None:
        for value in (1, 2):
            (answer,) = await batcher.submit([item(value)])
            assert value_of(answer) == 2 * value
        assert gate.batches == [[1], [2]]

    with_batcher(scenario)


def test_a_batch_forms_while_the_model_is_busy() -> None:
    async def scenario(batcher: Batcher, gate: Gate) -> None:
        gate.held = True
        first = asked(batcher, 1)
        await gate.busy()
        rest = [asked(batcher, value) for value in (2, 3, 1)]
        await asyncio.sleep(0)
        gate.opened.release(2)
        await asyncio.gather(first, *rest)
        assert gate.batches == [[1], [2, 3, 1]]

    with_batcher(scenario)


def test_cost_bounds_a_batch_and_an_item_over_the_bound_runs_alone() -> None:
    async def scenario(batcher: Batcher, gate: Gate) -> None:
        await batcher.submit([item(value) for value in (5, 3, 4, 4, 1, 20, 2)])
        assert gate.batches == [[5, 3], [4, 4], [1], [20], [2]]

    with_batcher(scenario)


def test_a_bad_item_fails_alone() -> None:
    async def scenario(batcher: Batcher, gate: Gate) -> None:
        gate.bad = {2}
        answers = await asyncio.gather(
            *(asked(batcher, value) for value in (1, 2, 3)), return_exceptions=True
        )
        assert [value_of(answers[i][0]) for i in (0, 2)] == [2, 6]  # type: ignore[index]
        assert isinstance(answers[1], ValueError)
        assert gate.batches == [[1, 2, 3], [1], [2], [3]]
        (again,) = await batcher.submit([item(4)])
        assert value_of(again) == 8

    with_batcher(scenario)


def test_a_model_that_returns_too_few_rows_fails_its_callers_and_goes_on() -> None:
    async def scenario(batcher: Batcher, gate: Gate) -> None:
        right = batcher.forward
        batcher.forward = lambda items: right(items)[1:]
        failed = await asyncio.gather(asked(batcher, 1), asked(batcher, 2), return_exceptions=True)
        assert all(isinstance(error, ValueError) for error in failed)
        batcher.forward = right
        (answer,) = await batcher.submit([item(3)])
        assert value_of(answer) == 6

    with_batcher(scenario)


def test_items_of_a_caller_that_has_gone_are_not_computed() -> None:
    async def scenario(batcher: Batcher, gate: Gate) -> None:
        gate.held = True
        first = asked(batcher, 1)
        await gate.busy()
        gone, stays = asked(batcher, 2, 2), asked(batcher, 3)
        await asyncio.sleep(0)
        gone.cancel()
        gate.opened.release(2)
        await asyncio.gather(first, stays)
        assert gate.batches == [[1], [3]]
        assert gone.cancelled()
        assert batcher.queue.cost == 0

    with_batcher(scenario)


def test_a_caller_that_goes_during_its_batch_leaves_the_others_their_rows() -> None:
    async def scenario(batcher: Batcher, gate: Gate) -> None:
        gate.held = True
        gone, stays = asked(batcher, 1), asked(batcher, 2)
        await gate.busy()
        gone.cancel()
        gate.opened.release()
        assert [value_of(answer) for answer in await stays] == [4]

    with_batcher(scenario)


def test_a_batch_that_nobody_waits_for_any_more_is_stopped() -> None:
    async def scenario(batcher: Batcher, gate: Gate) -> None:
        gate.held = True
        one, other = asked(batcher, 1), asked(batcher, 2)
        await gate.busy()
        one.cancel()
        await asyncio.wait([one])
        assert gate.stopped == 0, "somebody waits for it"
        other.cancel()
        await asyncio.wait([other])
        assert gate.stopped == 1
        gate.held = False
        assert [value_of(answer) for answer in await batcher.submit([item(3)])] == [6]
        assert gate.batches == [[1, 2], [3]]

    with_batcher(scenario)


def test_a_full_queue_refuses_and_takes_again_when_it_has_drained() -> None:
    async def scenario(batcher: Batcher, gate: Gate) -> None:
        gate.held = True
        first = asked(batcher, 1)
        await gate.busy()
        waiting = asked(batcher, 6)
        await asyncio.sleep(0)
        with pytest.raises(Overloaded, match="doubling"):
            await batcher.submit([item(3), item(2)])
        fits = asked(batcher, 4)
        await asyncio.sleep(0)
        gate.held = False
        gate.opened.release()
        await asyncio.gather(first, waiting, fits)
        assert [value_of(answer) for answer in await batcher.submit([item(5), item(5)])] == [10, 10]

    with_batcher(scenario, max_queue_cost=10)


def test_a_request_larger_than_the_queue_is_served_when_nothing_waits() -> None:
    async def scenario(batcher: Batcher, gate: Gate) -> None:
        assert len(await batcher.submit([item(7)] * 4)) == 4

    with_batcher(scenario, max_queue_cost=10)


def test_close_finishes_those_that_wait_and_refuses_new_ones() -> None:
    async def scenario(batcher: Batcher, gate: Gate) -> None:
        gate.held = True
        first = asked(batcher, 1)
        await gate.busy()
        waiting = asked(batcher, 2)
        await asyncio.sleep(0)
        closing = asyncio.create_task(batcher.close())
        await asyncio.sleep(0)
        with pytest.raises(Unavailable, match="shutting down"):
            await batcher.submit([item(3)])
        gate.opened.release(2)
        await closing
        assert [value_of(answer) for answer in await waiting + await first] == [4, 2]

    with_batcher(scenario)


def test_a_panic_stops_neither_its_neighbours_nor_the_worker() -> None:
    class Panic(BaseException):
        """What a library in Rust raises is no Exception."""

    async def scenario(batcher: Batcher, gate: Gate) -> None:
        calm = gate.forward

        def forward(items: Sequence[Item]) -> list[Row]:
            if any(int(one["value"]) == 3 for one in items):
                raise Panic
            return calm(items)

        batcher.forward = forward
        answers = await asyncio.gather(
            *(batcher.submit([item(value)]) for value in (1, 3, 2)), return_exceptions=True
        )
        assert isinstance(answers[1], Panic)
        assert [value_of(answers[i][0]) for i in (0, 2)] == [2, 4]  # type: ignore[index]
        (after,) = await batcher.submit([item(4)])
        assert value_of(after) == 8

    with_batcher(scenario)
