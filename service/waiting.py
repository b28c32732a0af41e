"""items that wait → those to run next: a bounded queue with a place in line for each.

An item's place is when its turn would come if its request had the model to itself, so that the
tenth sentence of a long text does not stand before the first of a short one, and nothing that comes
later than an item's place can keep it waiting.
"""

import asyncio
import heapq
import math
import threading
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Literal

from opentelemetry.trace import SpanContext

from service import telemetry
from service.errors import Overloaded, Unavailable
from service.foresight import Duration, Foresight, Pace
from service.tasks import Item, Row
from service.telemetry import Labels

PRIORITY_S = 1.0
"""How much earlier than it did an item counts as having come, for each step of its priority."""
CAUTION = 2.0
"""How many times as long as its computation takes on average must be left for an item that begins:
an answer that comes too late was computed for nobody."""
USUAL = 100
"""So many requests say what is usual."""


Work = Literal["encode", "decode", "compute"]
"""What a model does for an item: with an encoder and in decoding steps, or all in one run."""
Watch = Callable[[int, Sequence[int], bool], None]
"""Is told the number of an item, its tokens so far and whether they are all, in the event loop."""


@dataclass
class Answer:
    """The row of one item, when it was taken and answered, and what it was worked on meanwhile."""

    row: Row
    began_s: float
    ended_s: float
    worked_s: Mapping[Work, float]


@dataclass(eq=False)
class Entry:
    """An item that waits for its row, and the caller who waits for it."""

    item: Item
    cost: int
    future: asyncio.Future[Answer] = field(repr=False)
    place_s: float
    deadline_s: float
    came_s: float = 0.0
    expected_s: float = 0.0
    """How long its answer was to take when it came, waiting included, at the mean pace."""
    began_s: float | None = None
    """None as long as it waits."""
    worked_s: defaultdict[Work, float] = field(default_factory=lambda: defaultdict(float))
    origin: SpanContext | None = field(default=None, repr=False)
    """The request's span, if it is traced."""
    number: int = 0
    """Which of its request's items it is."""
    watch: Watch | None = field(default=None, repr=False)

    @property
    def gone(self) -> bool:
        """Nobody waits for it any more."""
        return self.future.done() or monotonic() >= self.deadline_s


class Waiting:
    """The queue of one task: filled by the event loop, emptied by the task's thread."""

    def __init__(self, labels: Labels, *, max_cost: int) -> None:
        self.labels = labels
        self.max_cost = max_cost
        self.cost = 0
        self.closed = False
        self.changed = threading.Condition()
        self._heap: list[tuple[float, int, Entry]] = []
        self._count = 0
        self._under_way: list[Entry] = []
        """Taken, and not yet answered."""
        self._pace = Pace()
        """Measured while items wait: what the model does when it has enough to do."""
        self._compute = Duration()
        """From when an item is taken to its row: longer for one of more cost."""
        self._foresight = Foresight()
        self._taken, self._since_s = 0, math.nan
        self._usual = 0.0
        """What a request costs."""

    def foresee(self, deadline_s: float, *, coming: int) -> None:
        """Raise as `add` does for a request whose cost is not known yet.

        It and the `coming` ones that are being read are taken to cost what is usual.
        """
        self._refuse([round(self._usual)], self.cost + coming * self._usual, deadline_s)

    def _refuse(self, costs: Sequence[int], ahead: float, deadline_s: float) -> None:
        """Raise Overloaded where so much more would find no room, or would come too late."""
        if self.closed:
            raise Unavailable("the service is shutting down")
        if not ahead and not self._busy():
            # Whoever comes first is let in: else a slow moment would be remembered forever.
            self._foresight.rest()
            return
        over = ahead + sum(costs) - self.max_cost
        if over > 0:
            telemetry.rejected(self.labels, "queue")
            raise Overloaded(
                f"the queue of {self.labels.model} is full; try again later",
                retry_after_s=self._pace.time_of(over),
            )
        needed_s = self._foresight.needed_s(self._expected_s(costs, ahead))
        late_s = monotonic() + needed_s - deadline_s
        if late_s > 0:
            raise self._too_late(late_s)

    def _expected_s(self, costs: Sequence[int], ahead: float) -> float:
        """How long the answer to a request that comes now takes on average."""
        # Its items are computed beside each other.
        return self._pace.time_of(ahead) + self._compute.time_of(max(costs, default=0))

    def add(
        self,
        items: Sequence[Item],
        costs: Sequence[int],
        *,
        deadline_s: float = math.inf,
        priority: int = 0,
        watch: Watch | None = None,
    ) -> list[Entry]:
        """Put the items of one request in line, or raise Overloaded."""
        loop = asyncio.get_running_loop()
        with self.changed:
            self._refuse(costs, self.cost, deadline_s)
            self._usual += (sum(costs) - self._usual) / USUAL
            now_s, origin = monotonic(), telemetry.origin()
            place_s = now_s - priority * PRIORITY_S
            expected_s = self._expected_s(costs, self.cost)
            entries = []
            for number, (item, cost) in enumerate(zip(items, costs, strict=True)):
                future: asyncio.Future[Answer] = loop.create_future()
                entry = Entry(
                    item, cost, future, place_s, deadline_s, now_s, expected_s,
                    origin=origin, number=number, watch=watch,
                )  # fmt: skip
                heapq.heappush(self._heap, (place_s, self._count, entry))
                self._count += 1
                entries.append(entry)
                place_s += self._pace.time_of(cost)
            self._grow(sum(costs))
        # In the next turn of the loop, so that those that come together are taken together.
        loop.call_soon(self._wake)
        return entries

    def leave(self, entry: Entry) -> None:
        """An item's caller has gone: if it still waits, its room is free at once."""
        with self.changed:
            if monotonic() >= entry.deadline_s:
                self._judge(entry, entry.deadline_s)
            if entry.began_s is None:
                telemetry.cancelled(self.labels, "queued")
                self._grow(-entry.cost)
                entry.item, entry.cost = {}, 0

    @property
    def over(self) -> bool:
        """Closed, and nothing is left to take."""
        return self.closed and not self._heap

    def take(
        self, fits: Callable[[Entry, list[Entry]], bool], *, wait: Callable[[], bool]
    ) -> list[Entry]:
        """The next items, as long as each fits with those before it.

        Where none does, waits while `wait` says so; it and `fits` are asked whenever `changed` is
        notified. Items whose callers have gone are left out, and those that would come too late are
        turned away.
        """
        with self.changed:
            while not (taken := self._pop(fits)) and wait():
                self.changed.wait()
            self._measure()
            self._taken = sum(entry.cost for entry in taken)
            self._since_s = monotonic() if self._heap else math.nan
        return taken

    def _busy(self) -> bool:
        """Something has been taken and not answered yet."""
        return any(not entry.future.done() for entry in self._under_way)

    def _pop(self, fits: Callable[[Entry, list[Entry]], bool]) -> list[Entry]:
        now_s = monotonic()
        taken: list[Entry] = []
        idle = not self._busy()
        while self._heap:
            entry = self._heap[0][2]
            gone = entry.gone
            late_s = -1.0 if idle and not taken else self._late_s(entry, now_s)
            if not gone and late_s <= 0 and not fits(entry, taken):
                break
            heapq.heappop(self._heap)
            if gone:
                continue
            self._grow(-entry.cost)
            entry.began_s = now_s
            if late_s > 0:
                self.turn_away(entry, late_s)
            else:
                taken.append(entry)
        under_way = [entry for entry in self._under_way if not entry.future.done()]
        self._under_way = under_way + taken
        return taken

    def _late_s(self, entry: Entry, now_s: float) -> float:
        """How much too late an item would be answered that began now; below 0 if it is in time."""
        return now_s + CAUTION * self._compute.time_of(entry.cost) - entry.deadline_s

    def turn_away(self, entry: Entry, late_s: float) -> None:
        """It takes longer than was expected, and is not computed any further; from any thread."""
        entry.future.get_loop().call_soon_threadsafe(self._turn_away, entry, late_s)

    def _turn_away(self, entry: Entry, late_s: float) -> None:
        if not entry.future.done():
            self._judge(entry, entry.deadline_s)
            entry.future.set_exception(self._too_late(late_s))

    def _too_late(self, late_s: float) -> Overloaded:
        telemetry.rejected(self.labels, "deadline")
        return Overloaded(
            f"{self.labels.model} may answer {late_s:.2f} s after the deadline; try again later",
            retry_after_s=late_s,
        )

    def _measure(self) -> None:
        """Add to the pace what was taken last, if others had to wait since."""
        if not math.isnan(self._since_s):
            self._pace.add(self._taken, monotonic() - self._since_s)

    def computed(self, entry: Entry, ended_s: float) -> None:
        """Remember how long an item took, alone and with its waiting."""
        assert entry.began_s is not None
        self._compute.add(entry.cost, ended_s - entry.began_s)
        self._judge(entry, ended_s)

    def _judge(self, entry: Entry, ended_s: float) -> None:
        """It was answered then, or not even then."""
        self._foresight.judge(
            expected_s=entry.expected_s,
            allowed_s=entry.deadline_s - entry.came_s,
            taken_s=ended_s - entry.came_s,
        )

    def close(self) -> None:
        """Take no more items in; those that wait are still to be taken."""
        self.closed = True
        self._wake()

    def _wake(self) -> None:
        with self.changed:
            self.changed.notify_all()

    def _grow(self, cost: int) -> None:
        self.cost += cost
        telemetry.queue(self.labels, cost)
