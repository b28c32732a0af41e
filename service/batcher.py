"""items of many requests → batches by cost → rows: one queue and one model thread per task.

Work-conserving: nothing waits while the model is idle; batches form while it is busy. A failing
batch is run again item by item, so that one bad item fails alone.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from time import monotonic

from service import telemetry
from service.errors import Overloaded, Unavailable
from service.tasks import Item, Row


@dataclass
class Answer:
    """The row of one item, and when its batch began and ended."""

    row: Row
    began_s: float
    ended_s: float


@dataclass
class _Entry:
    item: Item
    cost: int
    future: asyncio.Future[Answer] = field(repr=False)


class Batcher:
    """Runs `forward` on batches whose cost stays under a bound."""

    def __init__(
        self,
        task: str,
        forward: Callable[[Sequence[Item]], list[Row]],
        cost: Callable[[Item], int],
        *,
        max_batch_cost: int,
        max_queue_cost: int,
    ) -> None:
        self.task = task
        self.forward, self.cost = forward, cost
        self.max_batch_cost, self.max_queue_cost = max_batch_cost, max_queue_cost
        self.waiting: deque[_Entry] = deque()
        self.waiting_cost = 0
        self.closed = False
        self.worker: asyncio.Task[None] | None = None
        self.thread = ThreadPoolExecutor(1, thread_name_prefix=task)

    async def submit(self, items: Sequence[Item]) -> list[Answer]:
        """Queue the items of one request and wait for all of them.

        Raises Overloaded when the queue is full. A cancelled caller's items are not computed.
        """
        if self.closed:
            raise Unavailable("the service is shutting down")
        costs = [self.cost(item) for item in items]
        if self.waiting and self.waiting_cost + sum(costs) > self.max_queue_cost:
            raise Overloaded(f"the queue of {self.task} is full; try again later")
        loop = asyncio.get_running_loop()
        entries = [
            _Entry(item, cost, loop.create_future())
            for item, cost in zip(items, costs, strict=True)
        ]
        self.waiting.extend(entries)
        self._count(sum(costs))
        if self.worker is None or self.worker.done():
            self.worker = loop.create_task(self._work())
        try:
            return list(await asyncio.gather(*(entry.future for entry in entries)))
        finally:
            for entry in entries:
                entry.future.cancel()

    async def close(self) -> None:
        """Refuse new items, finish those that wait, end the thread."""
        self.closed = True
        if self.worker:
            await self.worker
        self.thread.shutdown(wait=False)

    def _count(self, cost: int) -> None:
        self.waiting_cost += cost
        telemetry.queue(self.task, self.waiting_cost)

    def _take(self) -> list[_Entry]:
        """The next batch, oldest first; callers that have gone are skipped."""
        batch: list[_Entry] = []
        room = self.max_batch_cost
        while self.waiting and (not batch or self.waiting[0].cost <= room):
            entry = self.waiting.popleft()
            self._count(-entry.cost)
            if not entry.future.done():
                batch.append(entry)
                room -= entry.cost
        return batch

    async def _work(self) -> None:
        # One turn of the loop lets requests that arrived together join the first batch.
        await asyncio.sleep(0)
        while batch := self._take():
            telemetry.batch(self.task, len(batch))
            if not await self._run(batch):
                for entry in batch:
                    if not entry.future.done():
                        await self._run([entry])

    async def _run(self, batch: list[_Entry]) -> bool:
        """Run a batch; False if it failed and it is not known which item is to blame."""
        loop = asyncio.get_running_loop()
        began_s = monotonic()
        try:
            items = [entry.item for entry in batch]
            rows = await loop.run_in_executor(self.thread, self.forward, items)
            answered = list(zip(batch, rows, strict=True))
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # the panic of a Rust library is no Exception
            if len(batch) > 1:
                return False
            if not batch[0].future.done():
                batch[0].future.set_exception(error)
            return True
        ended_s = monotonic()
        for entry, row in answered:
            if not entry.future.done():
                entry.future.set_result(Answer(row, began_s, ended_s))
        return True
