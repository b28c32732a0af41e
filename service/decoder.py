"""encoded items → token sequences, over a cache that stays in place.

Items come and go between steps, and each is as far as it is: the rows of one that is finished are
taken over by the last, so that a step computes live rows only.
"""

from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from numpy.typing import NDArray

from service.candidates import best, log_sum_exp
from service.search import Beam, Hypothesis, Search, considered
from service.session import Runner, rows_of
from service.slots import Slots
from service.tasks import Row, stack

Encoded = Mapping[str, NDArray[Any]]
"""What the decoder graph takes from the encoder, batch first."""
Encode = Callable[[Runner, Sequence[dict[str, NDArray[Any]]]], Encoded]
"""The inputs of many searches → what the decoder takes of them."""


@dataclass(frozen=True, eq=False)
class Pass:
    """One run of a graph for one item, which generates nothing."""

    graph: str
    inputs: dict[str, NDArray[Any]]
    """Without the batch axis."""


Way = Generator[Search | Pass, Any, Row]
"""One item's way: asks for searches and passes one after another, gets the hypotheses of the former
and the outputs of the latter, returns its row."""


class Decoder:
    """A decoding batch that items join and leave between steps."""

    def __init__(self, model: Runner, *, rows: int, max_len: int) -> None:
        self.slots = Slots(model, rows=rows, max_len=max_len)
        self.live: list[Beam] = []
        """In the order of their rows."""

    @property
    def rows(self) -> int:
        return sum(beam.width for beam in self.live)

    @property
    def room(self) -> int:
        return self.slots.capacity - self.rows

    def admit(self, searches: Sequence[Search], encoded: Encoded) -> list[Beam]:
        """Let items join whose encoder has run; they must fit into the room."""
        beams = [Beam(search) for search in searches]
        self.slots.fill(self.rows, [beam.width for beam in beams], encoded)
        self.live += beams
        return beams

    def step(self) -> list[Beam]:
        """Continue every live item by one token; returns those that are finished, in no order."""
        logits = self.slots.step([token for beam in self.live for token in beam.feed()])
        starts = self._starts()
        parents = [list(range(s, s + b.width)) for s, b in zip(starts, self.live, strict=True)]
        for beam, start in zip(self.live, starts, strict=True):
            if beam.search.first and beam.fed == 1 + beam.search.first_at:
                beam.search.first(logits[start])
        choosing = [index for index, beam in enumerate(self.live) if beam.choosing]
        if not choosing:
            return []
        if len(choosing) < len(self.live):
            # The rows of the others are at tokens of their prompts.
            logits = logits[[row for index in choosing for row in parents[index]]]
        slices = []
        row = 0
        for index in choosing:
            beam = self.live[index]
            slices.append(slice(row, row + beam.width))
            row += beam.width
            if beam.search.rule:
                beam.search.rule(logits[slices[-1]], beam.tokens)
        candidates, values = best(logits, max(considered(self.live[i].width) for i in choosing))
        values = values - log_sum_exp(logits, tops=values[:, 0])[:, None]
        tokens, scores = candidates.tolist(), values.tolist()
        for index, rows in zip(choosing, slices, strict=True):
            draw = self.live[index].search.draw
            if draw:
                tokens[rows.start][0], scores[rows.start][0] = draw(logits[rows.start])
            chosen = self.live[index].advance(tokens[rows], scores[rows])
            parents[index] = [starts[index] + parent for parent in chosen]
        finished = [self.live[index] for index in choosing if self.live[index].done()]
        self._settle(parents, finished)
        return finished

    def drop(self, beams: Collection[Beam]) -> None:
        """Let items go that nobody waits for."""
        starts = self._starts()
        stay = [list(range(s, s + b.width)) for s, b in zip(starts, self.live, strict=True)]
        self._settle(stay, beams)

    def _starts(self) -> list[int]:
        return [0, *accumulate(beam.width for beam in self.live)][:-1]

    def _settle(self, parents: list[list[int]], leaving: Collection[Beam]) -> None:
        """Have each row continue its parent, and close the holes that items leave.

        The last item takes the place of one that leaves, if it is as wide; else all behind move up.
        """
        starts = self._starts()
        for index in reversed(range(len(self.live))):
            if self.live[index] not in leaving:
                continue
            if self.live[-1].width == self.live[index].width:
                self.live[index], parents[index] = self.live[-1], parents[-1]
                starts[index] = starts[-1]
                self.live.pop(), parents.pop(), starts.pop()
            else:
                del self.live[index], parents[index], starts[index]
        relocated = [
            row
            for old, new, beam in zip(starts, self._starts(), self.live, strict=True)
            for row in range(new, new + beam.width)
            if old != new
        ]
        self.slots.move([row for rows in parents for row in rows], relocated)


def decode(model: Runner, encoded: Encoded, searches: Sequence[Search]) -> list[list[Hypothesis]]:
    """Decode one batch to its end; returns the hypotheses of each item, best first.

    `encoded` is written over as rows finish, for it may be large.
    """
    longest = max(len(search.prompt) + search.max_new_tokens for search in searches)
    rows = sum(search.beam_size for search in searches)
    decoder = Decoder(model, rows=rows, max_len=longest)
    beams = decoder.admit(searches, encoded)
    while decoder.live:
        decoder.step()
    return [beam.result() for beam in beams]


def passed(model: Runner, passes: Sequence[Pass]) -> list[Row]:
    """Run the graph of all of them, which is one; shorter inputs are padded at their ends."""
    inputs = [each.inputs for each in passes]
    batch = {name: stack(inputs, name) for name in inputs[0]}
    return rows_of(model.run(passes[0].graph, batch))


def complete(model: Runner, encode: Encode, ways: Sequence[Way]) -> list[Row]:
    """Go the ways of many items as one batch; returns their rows."""
    rows: list[Row] = [{} for _ in ways]
    waiting = [(index, next(way)) for index, way in enumerate(ways)]
    while waiting:
        searches = {index: step for index, step in waiting if isinstance(step, Search)}
        found: dict[int, Any] = {
            index: passed(model, [step])[0] for index, step in waiting if isinstance(step, Pass)
        }
        if searches:
            encoded = encode(model, [search.inputs for search in searches.values()])
            hypotheses = decode(model, encoded, list(searches.values()))
            found |= zip(searches, hypotheses, strict=True)
        waiting = []
        for index, given in found.items():
            try:
                waiting.append((index, ways[index].send(given)))
            except StopIteration as returned:
                rows[index] = returned.value
    return rows
