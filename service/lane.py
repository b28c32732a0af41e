"""requests of one task → rows of its model: a queue, and a thread that empties it."""

import asyncio
import math
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from time import monotonic

from service import telemetry
from service.tasks import Item, Row
from service.telemetry import Labels
from service.threads import behind_the_doors
from service.waiting import Answer, Entry, Waiting, Watch, Work

Outcome = Row | BaseException


class Lane(ABC):
    """What batches one task's items; the kinds differ in what the thread does."""

    def __init__(
        self,
        labels: Labels,
        cost: Callable[[Item], int],
        *,
        max_queue_cost: int,
        stop: Callable[[], None] = lambda: None,
    ) -> None:
        """`stop` ends the run of a graph that is under way; called when nobody waits for it."""
        self.labels = labels
        self.cost = cost
        self.queue = Waiting(labels, max_cost=max_queue_cost)
        self._stop = stop
        self._lock = threading.Lock()
        self._running: Sequence[Entry] = ()
        """What a single run of a graph computes just now."""
        self._thread = threading.Thread(target=self._compute, name=labels.model, daemon=True)
        self._thread.start()

    def _compute(self) -> None:
        behind_the_doors()
        self.work()

    @abstractmethod
    def work(self) -> None:
        """Empty the queue until it is closed and nothing is left."""

    def foresee(self, deadline_s: float, *, coming: int) -> None:
        """Raise Overloaded where a request had better not come now, behind `coming` others."""
        self.queue.foresee(deadline_s, coming=coming)

    async def submit(
        self,
        items: Sequence[Item],
        *,
        deadline_s: float = math.inf,
        priority: int = 0,
        watch: Watch | None = None,
    ) -> list[Answer]:
        """Queue the items of one request and wait for all of them.

        `watch` sees the tokens of each item, those of its row at last, and at the latest then.
        Raises Overloaded when the queue is full or the deadline, by `time.monotonic`, would pass.
        When the caller is cancelled, or one item fails, the others are not computed any further.
        """
        costs = [self.cost(item) for item in items]
        entries = self.queue.add(
            items, costs, deadline_s=deadline_s, priority=priority, watch=watch
        )
        try:
            return list(await asyncio.gather(*(entry.future for entry in entries)))
        finally:
            for entry in entries:
                if entry.future.cancel() or entry.future.cancelled():
                    self._left(entry)

    async def close(self) -> None:
        """Refuse new items, finish those that wait, end the thread."""
        self.queue.close()
        await asyncio.to_thread(self._thread.join)

    def _left(self, entry: Entry) -> None:
        self.queue.leave(entry)
        with self._lock:
            if entry in self._running and all(each.gone for each in self._running):
                self._stop()

    @contextmanager
    def running(self, entries: Sequence[Entry], work: Work) -> Iterator[None]:
        """Around the run of a graph that is to be stopped when these have all gone.

        It is traced, and its time is what they were worked on.
        """
        with self._lock:
            self._running = entries
        began_s = monotonic()
        try:
            with telemetry.batch_span(self.labels.task, [entry.origin for entry in entries]):
                yield
        finally:
            took_s = monotonic() - began_s
            for entry in entries:
                entry.worked_s[work] += took_s
            with self._lock:
                self._running = ()

    def answer(self, outcomes: Mapping[Entry, Outcome]) -> None:
        """Tell the callers, from the thread."""
        ended_s = monotonic()
        if outcomes:
            loop = next(iter(outcomes)).future.get_loop()
            loop.call_soon_threadsafe(self._tell, outcomes, ended_s)

    def _tell(self, outcomes: Mapping[Entry, Outcome], ended_s: float) -> None:
        for entry, outcome in outcomes.items():
            if entry.future.done():
                telemetry.cancelled(self.labels, "running")
            elif isinstance(outcome, BaseException):
                entry.future.set_exception(outcome)
            else:
                assert entry.began_s is not None
                self.queue.computed(entry, ended_s)
                entry.future.set_result(Answer(outcome, entry.began_s, ended_s, entry.worked_s))
                if entry.watch:
                    entry.watch(entry.number, outcome["tokens"].tolist(), True)
