"""items of many requests → batches by cost → rows: each batch is one run of the model.

Work-conserving: nothing waits while the model is idle; batches form while it is busy. A failing
batch is run again item by item, so that one bad item fails alone.
"""

from collections.abc import Callable, Sequence

from service import telemetry
from service.lane import Lane, Outcome
from service.tasks import Item, Row
from service.telemetry import Labels
from service.waiting import Entry


class Batcher(Lane):
    """Runs `forward` on batches whose cost stays under a bound."""

    def __init__(
        self,
        labels: Labels,
        forward: Callable[[Sequence[Item]], list[Row]],
        cost: Callable[[Item], int],
        *,
        max_batch_cost: int,
        max_queue_cost: int,
        stop: Callable[[], None] = lambda: None,
    ) -> None:
        self.forward = forward
        self.max_batch_cost = max_batch_cost
        super().__init__(labels, cost, max_queue_cost=max_queue_cost, stop=stop)

    def work(self) -> None:
        while batch := self.queue.take(self._fits, wait=lambda: not self.queue.over):
            telemetry.batch(self.labels, len(batch))
            self.answer(self._run(batch))

    def _fits(self, entry: Entry, taken: Sequence[Entry]) -> bool:
        return not taken or sum(each.cost for each in (*taken, entry)) <= self.max_batch_cost

    def _run(self, batch: Sequence[Entry]) -> dict[Entry, Outcome]:
        try:
            with self.running(batch, "compute"):
                rows = self.forward([entry.item for entry in batch])
            return dict(zip(batch, rows, strict=True))
        except BaseException as error:  # the panic of a Rust library is no Exception
            if len(batch) == 1:
                return {batch[0]: error}
        outcomes: dict[Entry, Outcome] = {}
        for entry in batch:
            if not entry.gone:
                outcomes |= self._run([entry])
        return outcomes
