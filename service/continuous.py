"""items of many requests → rows of one decoding batch that never stops for them.

Between two steps waiting items are encoded, together with others of about their length, and join;
what is finished is answered at once, and an item that nobody waits for leaves.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

from service import telemetry
from service.decoder import Decoder, Way
from service.lane import Lane, Outcome
from service.search import Beam, Search
from service.session import Runner
from service.tasks import Generation, Item
from service.waiting import Entry

PADDING = 1.5
"""How many times as large as the smallest the inputs of one encoder batch may be."""
LEAST_ROOM = 0.25
"""Of the rows that must be free before more items join: an encoder takes about as long for four
short ones as for one."""


class _Next(NamedTuple):
    """A search that is to join."""

    entry: Entry
    way: Way
    search: Search

    @property
    def size(self) -> int:
        return next(iter(self.search.inputs.values())).size


class Continuous(Lane):
    """Decodes in one batch that items join and leave at every step."""

    def __init__(
        self,
        task: str,
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
        self._at: dict[Beam, tuple[Entry, Way]] = {}
        self._watched: dict[Beam, int] = {}
        """How many certain tokens their watchers have been shown."""
        self._next: list[_Next] = []
        """Further searches of items that have had one."""
        super().__init__(task, cost, max_queue_cost=max_queue_cost, stop=stop)

    def _decoder(self) -> Decoder:
        most = self.generation
        return Decoder(self.model, rows=most.max_rows, max_len=most.max_len)

    def work(self) -> None:
        while True:
            idle = not self._at and not self._next
            entries = self.queue.take(self._fits, wait=idle)
            if idle and not entries:
                return
            self._join(entries)
            if self._at:
                self._step()

    def _fits(self, entry: Entry, taken: Sequence[Entry]) -> bool:
        if self.decoder.room < self.generation.max_rows * LEAST_ROOM:
            return False
        rows = sum(self.generation.rows(each.item) for each in (*taken, entry))
        rows += sum(each.search.beam_size for each in self._next)
        cost = sum(each.cost for each in (*taken, entry))
        return rows <= self.decoder.room and (not taken or cost <= self.generation.max_encode_cost)

    def _join(self, entries: Sequence[Entry]) -> None:
        """Encode new items and those whose way asks for another search; all have room."""
        following, self._next = [each for each in self._next if not each.entry.gone], []
        for entry in entries:
            try:
                way = self.generation.generate(entry.item, self.assets)
                following.append(_Next(entry, way, next(way)))
            except BaseException as error:  # the panic of a Rust library is no Exception
                self.answer({entry: error})
        for group in _alike(following):
            telemetry.batch(self.task, len(group))
            self._encode(group)

    def _encode(self, group: Sequence[_Next]) -> None:
        searches = [each.search for each in group]
        try:
            with self.running([each.entry for each in group]):
                inputs = [search.inputs for search in searches]
                encoded = self.generation.encode(self.model, inputs)
            beams = self.decoder.admit(searches, encoded)
        except BaseException as error:
            if len(group) == 1:
                self.answer({group[0].entry: error})
                return
            # One bad item fails alone, and those that are left need no company.
            for each in group:
                if not each.entry.gone:
                    self._encode([each])
            return
        for beam, each in zip(beams, group, strict=True):
            self._at[beam] = (each.entry, each.way)
            if each.entry.watch:
                self._watched[beam] = 0

    def _step(self) -> None:
        gone = [beam for beam, (entry, _) in self._at.items() if entry.gone]
        if gone:
            self.decoder.drop(gone)
            for beam in gone:
                del self._at[beam]
                self._watched.pop(beam, None)
                telemetry.cancelled(self.task, "running")
            if not self._at:
                return
        telemetry.step(self.task, self.decoder.rows)
        try:
            finished = self.decoder.step()
        except BaseException as error:
            self.answer({entry: error for entry, _ in self._at.values()})
            self._at.clear()
            self._watched.clear()
            self.decoder = self._decoder()
            return
        telemetry.tokens(self.task, sum(beam.choosing for beam in self._at))
        outcomes: dict[Entry, Outcome] = {}
        for beam in finished:
            entry, way = self._at.pop(beam)
            self._watched.pop(beam, None)
            try:
                self._next.append(_Next(entry, way, way.send(beam.result())))
            except StopIteration as returned:
                outcomes[entry] = returned.value
            except BaseException as error:
                outcomes[entry] = error
        self.answer(outcomes)
        if self._watched:
            self._show()

    def _show(self) -> None:
        """Tell those who watch of tokens that have become certain, all at once."""
        news: list[Callable[[], None]] = []
        for beam, known in self._watched.items():
            certain = beam.certain(known)
            if len(certain) == known:
                continue
            self._watched[beam] = len(certain)
            entry, _ = self._at[beam]
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
