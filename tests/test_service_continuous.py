"""A decoding batch that never stops: nobody waits for another's last token."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence
from time import monotonic, sleep
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from service.continuous import Continuous
from service.contract import Tensor
from service.decoder import Way
from service.errors import Overloaded, Unavailable
from service.search import Search
from service.tasks import Generation, Item
from service.telemetry import Labels
from service.waiting import Answer

END, VOCAB = 0, 40
ROWS = 4


class Counting:
    """A model that answers n with n - 1, down to the end token 0, one step at a time."""

    def __init__(self) -> None:
        self.steps: list[list[int]] = []
        self.encodes: list[list[int]] = []
        self.stopped = 0
        self.bad_step = False
        self.held = False
        self.row_s = 0.0
        """What a step takes for each of its rows."""
        self.reached = threading.Semaphore(0)
        self.go_on = threading.Semaphore(0)
        self.encoder_free = threading.Event()
        self.encoder_free.set()

    def tensors(self, graph: str) -> dict[str, Tensor]:
        cache = Tensor("float32", ("batch", 1, "max_len", 1))
        names = ("past_key_0", "past_value_0")
        return dict.fromkeys(names, cache) | {"logits": Tensor("float32", ("batch", VOCAB))}

    def run(self, graph: str, inputs: Any) -> Any:
        raise AssertionError("the encoder is a function of the test")

    def bind(self, graph: str, inputs: Any, outputs: Any) -> Callable[[], None]:
        def step() -> None:
            if self.held:
                self.reached.release()
                assert self.go_on.acquire(timeout=10), "nobody let the step through"
            if self.bad_step:
                raise RuntimeError("a bad step")
            tokens = inputs["tokens"][:, 0]
            sleep(self.row_s * len(tokens))
            self.steps.append(tokens.tolist())
            outputs["logits"][:] = -np.inf
            outputs["logits"][np.arange(len(tokens)), np.maximum(tokens - 1, 0)] = 0

        return step

    def encode(self, _: Any, inputs: Sequence[Item]) -> Mapping[str, NDArray[Any]]:
        self.encodes.append([len(each["source"]) for each in inputs])
        assert self.encoder_free.wait(timeout=10), "nobody let the encoder go on"
        if any((each["source"] == 13).any() for each in inputs):
            raise ValueError("an unlucky item")
        return {"cross_key_0": np.zeros((len(inputs), 1, 3, 1), np.float32)}

    def stop(self) -> None:
        self.stopped += 1

    async def stepping(self) -> None:
        """Wait until a step is about to be made, and hold it."""
        assert await asyncio.to_thread(self.reached.acquire, timeout=10)

    def pass_steps(self, count: int = 1) -> None:
        self.go_on.release(count)


def shown(found: list[int], again: int) -> list[int]:
    if again in found:
        raise ValueError("tokens that nobody may see")
    return found


def generate(item: Item, again: int) -> Way:
    """Count down from the item, and so once more from each of its `again`."""
    counted: list[int] = []
    for start in item["starts"].tolist():
        source = np.full(item.get("length", np.array(2)), start)
        ((best, *_)) = yield Search(
            [start], END, 30, inputs={"source": source}, standing=lambda found: shown(found, again)
        )
        counted += best.tokens
    if again in counted:
        raise ValueError("an item that no answer fits")
    return {"counted": np.array(counted), "tokens": np.array(counted)}


def unread(*_: Any) -> Any:
    raise AssertionError("the lane leaves what tokens say to others")


def with_lane(
    scenario: Callable[[Continuous, Counting], Awaitable[Any]],
    *,
    never: int = -1,
    beside: bool = True,
) -> None:
    async def run() -> None:
        model = Counting()
        generation = Generation(
            model.encode, generate, lambda item: 1, ROWS, 32, 10, beside, unread, unread
        )
        lane = Continuous(
            Labels("numbers", "counting"), model, generation, never, lambda item: 5,
            max_queue_cost=100, stop=model.stop,
        )  # fmt: skip
        async with asyncio.timeout(20):
            await scenario(lane, model)
            await lane.close()

    asyncio.run(run())


def item(*starts: int, **more: int) -> Item:
    return {"starts": np.array(starts), **{key: np.array(value) for key, value in more.items()}}


def asked(lane: Continuous, *starts: int) -> "asyncio.Task[list[Answer]]":
    return asyncio.create_task(lane.submit([item(start) for start in starts]))


def counted(answers: Sequence[Answer]) -> list[list[int]]:
    return [answer.row["counted"].tolist() for answer in answers]


def test_one_who_comes_later_is_done_sooner_if_it_is_shorter() -> None:
    async def scenario(lane: Continuous, model: Counting) -> None:
        model.held = True
        long = asked(lane, 20)
        await model.stepping()
        short = asked(lane, 3)
        await asyncio.sleep(0.01)
        model.pass_steps(4)
        assert counted(await short) == [[2, 1]]
        assert not long.done()
        model.held = False
        model.pass_steps()
        assert counted(await long) == [list(range(19, 0, -1))]
        assert model.steps[:4] == [[20], [19, 3], [18, 2], [17, 1]]
        assert model.steps[4] == [16]

    with_lane(scenario)


def test_more_than_the_rows_wait_and_take_the_place_of_the_first_that_is_done() -> None:
    async def scenario(lane: Continuous, model: Counting) -> None:
        answers = await lane.submit([item(start) for start in (9, 3, 9, 9, 5, 9)])
        assert counted(answers) == [list(range(n - 1, 0, -1)) for n in (9, 3, 9, 9, 5, 9)]
        assert max(len(tokens) for tokens in model.steps) == ROWS
        assert max(len(lengths) for lengths in model.encodes) == 2, "as the cost allows"

    with_lane(scenario)


def test_items_are_encoded_while_others_are_decoded() -> None:
    async def scenario(lane: Continuous, model: Counting) -> None:
        model.held = True
        first = asked(lane, 20)
        await model.stepping()
        second = asked(lane, 3)
        while len(model.encodes) < 2:
            await asyncio.sleep(0.001)
        assert not model.steps, "the first step has not ended"
        model.held = False
        model.pass_steps()
        assert counted(await second) == [[2, 1]]
        await first

    with_lane(scenario)


def test_steps_wait_for_an_encoder_that_takes_all_cores() -> None:
    async def scenario(lane: Continuous, model: Counting) -> None:
        model.held = True
        first = asked(lane, 20)
        await model.stepping()
        model.encoder_free.clear()
        second = asked(lane, 3)
        while len(model.encodes) < 2:
            await asyncio.sleep(0.001)
        model.held = False
        model.pass_steps()
        await asyncio.sleep(0.05)
        assert model.steps == [[20]], "the step that was under way"
        model.encoder_free.set()
        assert counted(await second) == [[2, 1]]
        await first
        assert model.steps[1] == [19, 3]

    with_lane(scenario, beside=False)


def test_nobody_joins_whose_company_would_make_another_late() -> None:
    async def scenario(lane: Continuous, model: Counting) -> None:
        model.row_s = 0.02
        await lane.submit([item(20)])
        await lane.submit([item(20) for _ in range(ROWS)])
        known = len(model.steps)
        hurried = asyncio.create_task(lane.submit([item(20)], deadline_s=monotonic() + 1))
        while len(model.steps) < known + 2 and not hurried.done():
            await asyncio.sleep(0.001)
        others = asked(lane, *[20] * (ROWS - 1))
        assert counted(await hurried) == [list(range(19, 0, -1))]
        assert max(map(len, model.steps[known : known + 20])) == 1, "0.4 s alone, 1.6 in company"
        assert len(await others) == ROWS - 1
        assert max(map(len, model.steps[known + 20 :])) == ROWS - 1

    with_lane(scenario)


def test_what_would_be_late_even_alone_is_turned_away_at_once() -> None:
    async def scenario(lane: Continuous, model: Counting) -> None:
        model.row_s = 0.02
        await lane.submit([item(20)])
        known = len(model.steps)
        with pytest.raises(Overloaded, match="after the deadline"):
            await lane.submit([item(20)], deadline_s=monotonic() + 0.2)
        assert len(model.steps) < known + 6, "not computed any further"

    with_lane(scenario)


def test_what_is_encoded_and_finds_no_row_waits_for_one() -> None:
    async def scenario(lane: Continuous, model: Counting) -> None:
        model.held = True
        full = [asked(lane, 20) for _ in range(ROWS)]
        await model.stepping()
        while sum(map(len, model.encodes)) < ROWS:
            await asyncio.sleep(0.001)
        ahead, waits = asked(lane, 3), asked(lane, 4)
        while sum(map(len, model.encodes)) < ROWS + 1:
            await asyncio.sleep(0.001)
        await asyncio.sleep(0.02)
        assert sum(map(len, model.encodes)) == ROWS + 1, "a quarter of the rows ahead"
        model.held = False
        model.pass_steps()
        await asyncio.gather(ahead, waits, *full)

    with_lane(scenario)


def test_what_an_item_was_worked_on_is_told_and_the_rest_of_its_time_it_waited() -> None:
    async def scenario(lane: Continuous, model: Counting) -> None:
        model.held = True
        full = [asked(lane, 20) for _ in range(ROWS)]
        await model.stepping()
        while sum(map(len, model.encodes)) < ROWS:
            await asyncio.sleep(0.001)
        model.encoder_free.clear()
        one = asked(lane, 3)
        while sum(map(len, model.encodes)) < ROWS + 1:
            await asyncio.sleep(0.001)
        await asyncio.sleep(0.05)
        model.encoder_free.set()
        await asyncio.sleep(0.05)
        model.held = False
        model.pass_steps()
        (answer,) = await one
        worked_s = answer.worked_s
        assert worked_s["encode"] >= 0.05
        assert answer.ended_s - answer.began_s - sum(worked_s.values()) >= 0.04, "for a row"
        for (told,) in await asyncio.gather(*full):
            assert told.worked_s["decode"] >= 0.09, "all of the steps that it was in"

    with_lane(scenario)


def test_an_item_may_ask_for_one_search_after_another() -> None:
    async def scenario(lane: Continuous, model: Counting) -> None:
        (answer,) = await lane.submit([item(3, 5, 2)])
        assert counted([answer]) == [[2, 1, 4, 3, 2, 1, 1]]
        assert answer.began_s < answer.ended_s

    with_lane(scenario)


def test_what_is_encoded_together_is_of_about_one_length() -> None:
    async def scenario(lane: Continuous, model: Counting) -> None:
        await lane.submit([item(3, length=9), item(4, length=3)])
        assert model.encodes == [[3], [9]]

    with_lane(scenario)


def test_an_item_that_the_encoder_does_not_take_fails_alone() -> None:
    async def scenario(lane: Continuous, model: Counting) -> None:
        good, bad = asked(lane, 4), asked(lane, 13)
        with pytest.raises(ValueError, match="unlucky"):
            await bad
        assert counted(await good) == [[3, 2, 1]]

    with_lane(scenario)


def test_an_item_whose_way_goes_wrong_fails_alone() -> None:
    async def scenario(lane: Continuous, model: Counting) -> None:
        good, bad = asked(lane, 4), asked(lane, 9)
        with pytest.raises(ValueError, match="no answer fits"):
            await bad
        assert counted(await good) == [[3, 2, 1]]

    with_lane(scenario, never=7)


def test_a_step_that_fails_fails_those_in_it_and_no_others() -> None:
    async def scenario(lane: Continuous, model: Counting) -> None:
        model.bad_step = True
        for answer in await asyncio.gather(asked(lane, 4), asked(lane, 5), return_exceptions=True):
            assert isinstance(answer, RuntimeError)
        model.bad_step = False
        assert counted(await lane.submit([item(3)])) == [[2, 1]]

    with_lane(scenario)


def test_one_who_goes_leaves_the_batch_at_the_next_step() -> None:
    async def scenario(lane: Continuous, model: Counting) -> None:
        model.held = True
        gone, stays = asked(lane, 20), asked(lane, 6)
        await model.stepping()
        gone.cancel()
        await asyncio.wait([gone])
        model.held = False
        model.pass_steps()
        assert counted(await stays) == [[5, 4, 3, 2, 1]]
        assert [len(tokens) for tokens in model.steps] == [2, 1, 1, 1, 1, 1]

    with_lane(scenario)


def test_when_a_deadline_passes_the_row_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(lane: Continuous, model: Counting) -> None:
        loop = asyncio.get_running_loop()
        model.held = True
        deadline_s = loop.time() + 0.05
        late = asyncio.create_task(lane.submit([item(20)], deadline_s=deadline_s))
        stays = asked(lane, 3)
        await model.stepping()
        await asyncio.sleep(0.06)
        model.held = False
        model.pass_steps()
        assert counted(await stays) == [[2, 1]]
        assert [len(tokens) for tokens in model.steps] == [2, 1, 1]
        late.cancel()

    with_lane(scenario)


def test_close_ends_where_the_last_to_wait_has_gone() -> None:
    async def scenario(lane: Continuous, model: Counting) -> None:
        await asyncio.sleep(0.02)  # both threads wait, the encoding one first
        with lane.queue.changed:
            lane.queue.changed.notify(1)
        await asyncio.sleep(0.02)  # now the other is the first to wake
        late = asyncio.create_task(lane.submit([item(3)], deadline_s=monotonic()))
        await asyncio.sleep(0)
        lane.queue.close()
        late.cancel()
        deadline_s = monotonic() + 5
        while lane._thread.is_alive():
            assert monotonic() < deadline_s, "it waits for what will not come"
            await asyncio.sleep(0.001)
        assert not model.encodes

    with_lane(scenario)


def test_close_finishes_those_that_wait_and_refuses_new_ones() -> None:
    async def scenario(lane: Continuous, model: Counting) -> None:
        waiting = asked(lane, *[4] * 9)
        await asyncio.sleep(0)
        await lane.close()
        assert counted(await waiting) == [[3, 2, 1]] * 9
        with pytest.raises(Unavailable, match="shutting down"):
            await lane.submit([item(3)])

    with_lane(scenario)


def test_who_watches_sees_each_token_when_it_has_come_and_the_row_at_last() -> None:
    async def scenario(lane: Continuous, model: Counting) -> None:
        seen: list[tuple[int, list[int], bool]] = []

        def watch(number: int, tokens: Sequence[int], finished: bool) -> None:
            seen.append((number, list(tokens), finished))

        model.held = True
        watched = asyncio.create_task(lane.submit([item(4), item(2)], watch=watch))
        unwatched = asked(lane, 6)
        await model.stepping()
        model.pass_steps()
        await model.stepping()
        assert seen == [(0, [3], False), (1, [1], False)]
        model.held = False
        model.pass_steps()
        assert counted(await watched) == [[3, 2, 1], [1]]
        assert seen[2:] == [
            (1, [1], True), (0, [3, 2], False), (0, [3, 2, 1], False), (0, [3, 2, 1], True),
        ]  # fmt: skip
        await unwatched

    with_lane(scenario)


def test_an_item_whose_tokens_cannot_be_shown_fails_alone() -> None:
    async def scenario(lane: Continuous, model: Counting) -> None:
        good = asked(lane, 9)
        with pytest.raises(ValueError, match="nobody may see"):
            await lane.submit([item(12)], watch=lambda *_: None)
        with pytest.raises(ValueError, match="no answer fits"):
            await lane.submit([item(12)])
        assert counted(await good) == [list(range(8, 0, -1))]

    with_lane(scenario, never=10)
