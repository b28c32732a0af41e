"""items of many requests → rows of one decoding batch that never stops for them.

One thread encodes what waits, together with others of about its length; another decodes. Between
two steps encoded items join, what is finished is answered at once, and an item that nobody waits
for leaves.
"""

import math
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from time import monotonic
from typing import Any, NamedTuple, TypeVar

from service import telemetry
from service.crowding import Crowding, Decoding
from service.decoder import Decoder, Encoded, Pass, Way, passed
from service.lane import Lane, Outcome
from service.search import Beam, Search
from service.session import Runner
from service.tasks import Generation, Item
from service.telemetry import Labels
from service.threads import behind_the_doors
from service.waiting import Entry

T = TypeVar("T", "_Next", "_Aside")
PADDING = 1.5
"""How many times as large as the smallest the inputs of one encoder batch may be."""
AHEAD = 0.25
"""Of the rows: so many more may be encoded while all are taken, and no fewer are encoded then. An
encoder takes about as long for four short sentences as for one."""


class _Next(NamedTuple):
    """A search that is to join."""

    entry: Entry
    way: Way
    search: Search

    @property
    def size(self) -> int:
        return next(iter(self.search.inputs.values())).size


class _Aside(NamedTuple):
    """A pass that is to be made."""

    entry: Entry
    way: Way
    run: Pass


def _asked(entry: Entry, way: Way, step: Search | Pass) -> _Next | _Aside:
    return _Aside(entry, way, step) if isinstance(step, Pass) else _Next(entry, way, step)


class Continuous(Lane):
    """Decodes in one batch that items join and leave at every step."""

    def __init__(
        self,
        labels: Labels,
        model: Runner,
        generation: Generation,
        assets: Any,
        cost: Callable[[Item], int],
        *,
        max_queue_cost: int,
        stop: Callable[[], None] = lambda: None,
    ) -> None:
        self.model, self.generation, self.assets = model, generation, assets
        self.decoder = self._decoder()
        self._at: dict[Beam, tuple[Entry, Way, float]] = {}
        """With the time that all steps before it took."""
        self._stepped_s = 0.0
        self._crowding = Crowding(generation.max_rows)
        self._since_s = math.nan
        """The end of the last step, if the next one follows it."""
        self._watched: dict[Beam, int] = {}
        """How many certain tokens their watchers have been shown."""
        # What both threads use, under the queue's lock.
        self._most_rows = generation.max_rows
        """Fewer where those that decode would else be late."""
        self._rows: dict[Entry, int] = {}
        """Of the items that have been taken and not answered: the rows kept for each."""
        self._following: list[_Next | _Aside] = []
        """What items ask for that have had something: searches to be encoded, and passes."""
        self._ready: deque[tuple[_Next, Encoded]] = deque()
        """What has been encoded and waits for a row."""
        self._encoding = False
        super().__init__(labels, cost, max_queue_cost=max_queue_cost, stop=stop)
        self._encoder = threading.Thread(
            target=self._encode_all, name=f"{labels.model} encoder", daemon=True
        )
        self._encoder.start()

    def _decoder(self) -> Decoder:
        most = self.generation
        return Decoder(self.model, rows=most.max_rows, max_len=most.max_len)

    @property
    def _over(self) -> bool:
        return self.queue.over and not self._rows

    def work(self) -> None:
        while True:
            with self.queue.changed:
                while self._idle():
                    self.queue.changed.wait()
                joining = list(self._joining())
            if not self._at and not joining:
                self._encoder.join()
                return
            for each, encoded in joining:
                self._join(each, encoded)
            self._part()
            if self._at:
                self._step()
            self._foresee()

    def _idle(self) -> bool:
        """The decoding thread has nothing to do, or what it has must wait."""
        if self._encoding and not self.generation.beside:
            return True
        return not (self._at or self._ready or self._over)

    def _joining(self) -> Iterator[tuple[_Next, Encoded]]:
        """The first of what is ready that there is room for."""
        room = self._most_rows - self.decoder.rows
        while self._ready and (room := room - self._ready[0][0].search.beam_size) >= 0:
            yield self._ready.popleft()

    def _join(self, each: _Next, encoded: Encoded) -> None:
        if each.entry.gone:
            self._release([each.entry])
            return
        (beam,) = self.decoder.admit([each.search], encoded)
        self._at[beam] = (each.entry, each.way, self._stepped_s)
        if each.entry.watch:
            self._watched[beam] = 0

    def _release(self, entries: Iterable[Entry]) -> None:
        """Give the rows back that were kept for them."""
        with self.queue.changed:
            for entry in entries:
                self._rows.pop(entry, None)
            self.queue.changed.notify_all()

    def answer(self, outcomes: Mapping[Entry, Outcome]) -> None:
        if outcomes:
            self._release(outcomes)
            super().answer(outcomes)

    def _encode_all(self) -> None:
        behind_the_doors()
        while True:
            with self.queue.changed:
                self._encoding = False
                self.queue.changed.notify_all()
                entries = self.queue.take(
                    self._fits, wait=lambda: not (self._following or self._over)
                )
                self._rows |= {entry: self.generation.rows(entry.item) for entry in entries}
                following, self._following = self._following, []
                self._encoding = True
            if not entries and not following:
                with self.queue.changed:  # the other thread may have slept through the last to go
                    self._encoding = False
                    self.queue.changed.notify_all()
                return
            self._release([each.entry for each in following if each.entry.gone])
            following = [each for each in following if not each.entry.gone]
            for entry in entries:
                try:
                    way = self.generation.generate(entry.item, self.assets)
                    following.append(_asked(entry, way, next(way)))
                except BaseException as error:  # the panic of a Rust library is no Exception
                    self.answer({entry: error})
            for group in _alike([each for each in following if isinstance(each, _Next)]):
                telemetry.batch(self.labels, len(group))
                self._encode(group)
            passes = [each for each in following if isinstance(each, _Aside)]
            most = self.generation.max_encode_cost
            for begin in range(0, len(passes), most):
                self._pass(passes[begin : begin + most])

    def _fits(self, entry: Entry, taken: Sequence[Entry]) -> bool:
        most = self._most_rows
        room = most * (1 + AHEAD) - sum(self._rows.values())
        if room < most * AHEAD:
            return False
        rows = sum(self.generation.rows(each.item) for each in (*taken, entry))
        cost = sum(each.cost for each in (*taken, entry))
        return rows <= room and (not taken or cost <= self.generation.max_encode_cost)

    def _encode(self, group: Sequence[_Next]) -> None:
        try:
            with self.running([each.entry for each in group], "encode"):
                inputs = [each.search.inputs for each in group]
                encoded = self.generation.encode(self.model, inputs)
        except BaseException as error:
            self._apart(group, error, self._encode)
            return
        with self.queue.changed:
            for index, each in enumerate(group):
                own = {name: array[index : index + 1] for name, array in encoded.items()}
                self._ready.append((each, own))
            self.queue.changed.notify_all()

    def _pass(self, group: Sequence[_Aside]) -> None:
        try:
            with self.running([each.entry for each in group], "encode"):
                rows = passed(self.model, [each.run for each in group])
        except BaseException as error:
            self._apart(group, error, self._pass)
            return
        self._go_on((each.entry, each.way, row) for each, row in zip(group, rows, strict=True))

    def _apart(
        self, group: Sequence[T], error: BaseException, again: Callable[[Sequence[T]], None]
    ) -> None:
        """One bad item fails alone, and those that are left need no company."""
        if len(group) == 1:
            self.answer({group[0].entry: error})
            return
        for each in group:
            if each.entry.gone:
                self._release([each.entry])
            else:
                again([each])

    def _go_on(self, found: Iterable[tuple[Entry, Way, Any]]) -> None:
        """Give items what they asked for: they have their row then, or ask for more."""
        outcomes: dict[Entry, Outcome] = {}
        following = []
        for entry, way, given in found:
            try:
                following.append(_asked(entry, way, way.send(given)))
            except StopIteration as returned:
                outcomes[entry] = returned.value
            except BaseException as error:
                outcomes[entry] = error
        self.answer(outcomes)
        if following:
            with self.queue.changed:
                self._following += following
                self.queue.changed.notify_all()

    def _step(self) -> None:
        rows = self.decoder.rows
        telemetry.step(self.labels, rows)
        began_s = monotonic()
        try:
            finished = self.decoder.step()
        except BaseException as error:
            self.answer({entry: error for entry, *_ in self._at.values()})
            self._at.clear()
            self._watched.clear()
            self.decoder = self._decoder()
            return
        ended_s = monotonic()
        self._stepped_s += ended_s - began_s
        if not math.isnan(self._since_s):
            self._crowding.stepped(rows, ended_s - self._since_s)
        telemetry.tokens(self.labels, sum(beam.choosing for beam in self._at))
        found = []
        for beam in finished:
            entry, way, before_s = self._at.pop(beam)
            entry.worked_s["decode"] += self._stepped_s - before_s
            self._watched.pop(beam, None)
            self._crowding.ended(entry.cost, beam.fed)
            found.append((entry, way, beam.result()))
        self._since_s = ended_s if self._at else math.nan
        self._go_on(found)
        if self._watched:
            self._show()

    def _part(self) -> None:
        """Let go what nobody waits for any more."""
        gone = [beam for beam, (entry, *_) in self._at.items() if entry.gone]
        if gone:
            self.decoder.drop(gone)
            self._release([self._at.pop(beam)[0] for beam in gone])
            for beam in gone:
                self._watched.pop(beam, None)
                telemetry.cancelled(self.labels, "running")

    def _foresee(self) -> None:
        """Turn away what would be late even alone; see how many rows there may be for others."""
        now_s = monotonic()
        decoding = {
            entry: Decoding(entry.cost, beam.fed, entry.deadline_s - now_s)
            for beam, (entry, *_) in self._at.items()
        }
        for entry, each in decoding.items():
            if (late_s := self._crowding.late_s(each)) > 0:
                self.queue.turn_away(entry, late_s)
        before, self._most_rows = self._most_rows, self._crowding.rows(decoding.values())
        if self._most_rows > before:
            with self.queue.changed:
                self.queue.changed.notify_all()

    def _show(self) -> None:
        """Tell those who watch of tokens that have become certain, all at once."""
        news: list[Callable[[], None]] = []
        for beam, known in self._watched.items():
            certain = beam.certain(known)
            if len(certain) == known:
                continue
            self._watched[beam] = len(certain)
            entry = self._at[beam][0]
            assert entry.watch is not None
            try:
                tokens = beam.search.standing(certain)
            except BaseException as error:
                self.answer({entry: error})
                continue
            news.append(partial(entry.watch, entry.number, tokens, False))
            loop = entry.future.get_loop()
        if news:
            loop.call_soon_threadsafe(_tell_all, news)


def _tell_all(news: Sequence[Callable[[], None]]) -> None:
    for each in news:
        each()


def _alike(waiting: Sequence[_Next]) -> Iterator[list[_Next]]:
    """Groups of about the same size, so that little of a batch is padding."""
    group: list[_Next] = []
    for each in sorted(waiting, key=lambda each: each.size):
        if group and each.size > PADDING * group[0].size:
            yield group
            group = []
        group.append(each)
    if group:
        yield group
