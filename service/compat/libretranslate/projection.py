"""marked parts of a text and its translation → where in the translation those marks belong.

A part is looked for by the words of its own translation, and as it is; where neither is found, as
far into the translation as it stood into the text. Marks of one level never overlap, and what is in
one stays in it.
"""

import re
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

WORD = re.compile(r"\w+|[^\w\s]")
AROUND = " \t\r\n.,;:!?…\"'»«„“”‘’()[]¿¡"
"""What is not looked for at the ends of a part."""
REACH = 64
"""How many words from where a part would stand it is looked for."""
MAX_ALONE, MAX_ALONE_CHARS = 64, 100
"""Parts of one text that are translated alone, too, and how long each may be."""


@dataclass(frozen=True)
class Span:
    """Part of a text, with what marks it and what is marked within; empty for a point."""

    start: int
    end: int
    mark: Any
    inner: tuple["Span", ...] = ()
    kept: bool = False
    """It is not translated."""


@dataclass(frozen=True)
class Marked:
    """A text as a model takes it, and its marks in their order."""

    text: str
    spans: tuple[Span, ...] = field(default=())

    def each(self, spans: Sequence[Span] | None = None) -> Iterator[Span]:
        for span in self.spans if spans is None else spans:
            yield span
            yield from self.each(span.inner)

    def said(self, span: Span) -> str:
        return self.text[span.start : span.end]

    def core(self, span: Span) -> str:
        return self.said(span).strip(AROUND)

    def asked(self) -> list[str]:
        """Parts whose own translations help to find them: those that leave something out."""
        whole = self.text.strip(AROUND)
        cores = (self.core(span) for span in self.each() if not span.kept)
        short = (core for core in dict.fromkeys(cores) if 0 < len(core) <= MAX_ALONE_CHARS)
        return [core for core in short if core != whole][:MAX_ALONE]


Range = tuple[int, int]


class Projection:
    """The marks of one text on one translation of it."""

    def __init__(self, marked: Marked, made: str, alone: Mapping[str, str]) -> None:
        """`alone` are the translations of what `marked.asked()` says."""
        self._marked, self._made, self._alone = marked, made, alone
        self._words = [match.span() for match in WORD.finditer(made) if match[0].isalnum()]
        self._said = [made[start:end].lower() for start, end in self._words]

        self.kept = self._kept_places()

    def _kept_places(self) -> dict[int, Range]:
        """Where each part that was kept stands, by its place in the text."""
        places: dict[int, Range] = {}
        at = 0
        for span in sorted(
            (one for one in self._marked.each() if one.kept and self._marked.said(one).strip()),
            key=lambda one: one.start,
        ):
            words = self._marked.said(span).strip()
            start = self._made.find(words, at)
            if start >= 0:
                at = start + len(words)
                places[span.start] = start, at
        return places

    def spans(self) -> tuple[Span, ...]:
        return self._placed(self._marked.spans, (0, len(self._marked.text)), (0, len(self._made)))

    def _placed(self, spans: Sequence[Span], source: Range, target: Range) -> tuple[Span, ...]:
        """Spans within `source` → spans within `target`, in the order that they have there."""
        level = _Level(self, source, target)
        ranges: dict[int, Range] = {}
        wide = [at for at, span in enumerate(spans) if span.end > span.start]
        for at in sorted(wide, key=lambda at: spans[at].start - spans[at].end):
            ranges[at] = level.wide(spans[at])
        for at, span in enumerate(spans):
            if at not in ranges:
                ranges[at] = level.point(span.start)
        return tuple(
            Span(
                start, end, span.mark,
                self._placed(span.inner, (span.start, span.end), (start, end)), span.kept,
            )
            for (start, end), _, span in sorted(
                ((ranges[at], at, span) for at, span in enumerate(spans)), key=lambda one: one[:2]
            )
        )  # fmt: skip


class _Level:
    """A range of the text, that of the translation which belongs to it, and what is free there."""

    def __init__(self, of: Projection, source: Range, target: Range) -> None:
        self._marked, self._made, self._alone = of._marked, of._made, of._alone
        self._kept = of.kept
        self._source, self._target = source, target
        inside = [at for at, (a, b) in enumerate(of._words) if target[0] <= a and b <= target[1]]
        self._words = [of._words[at] for at in inside]
        self._said = [of._said[at] for at in inside]
        self._starts = [start for start, _ in self._words]
        self._taken = bytearray(len(of._made) + 1)
        self._empty = True

    def wide(self, span: Span) -> Range:
        """The place of a part that is not empty, which is taken from now on."""
        if span.kept:
            start, end = self._as_it_is(span)
        elif self._empty and not self._left_out(span):
            start, end = self._target
        else:
            start, end = self._with_end(span, self._alike(span) or self._as_far(span))
            start, end = self._with_kept(span, start, end)
        self._taken[start:end] = b"\1" * (end - start)
        self._empty = False
        return start, end

    def point(self, at: int) -> Range:
        """A place between words, and between what has its place."""
        start, end = self._target
        after_word = not self._marked.text[max(at - 1, 0) : at].isspace()
        near = self._words[self._near(at, at)]
        edges = [start, *(word[after_word] for word in near), end]
        if at in self._source:
            edges = [start if at == self._source[0] else end]
        free = [edge for edge in edges if not (self._taken[edge] and self._taken[edge - 1])]
        best = min(free or [end], key=lambda edge: abs(edge - self._there(at)))
        return best, best

    def _near(self, start: int, end: int) -> slice:
        """The words about a place: who marks every word of a long text asks for each."""
        first, last = (bisect_left(self._starts, self._there(at)) for at in (start, end))
        return slice(max(0, first - REACH), last + REACH)

    def _there(self, at: float) -> float:
        share = (at - self._source[0]) / max(self._source[1] - self._source[0], 1)
        return self._target[0] + share * (self._target[1] - self._target[0])

    def _left_out(self, span: Span) -> str:
        """Words of the source beside the part."""
        text, (start, end) = self._marked.text, self._source
        return (text[start : span.start] + text[span.end : end]).strip(AROUND)

    def _as_it_is(self, span: Span) -> Range:
        """Where it was kept, or where it would stand: nothing of the text may go for it."""
        place = self._kept.get(span.start)
        if place and self._free(*place):
            return place
        return self.point(span.start)

    def _free(self, start: int, end: int) -> bool:
        within = self._target[0] <= start and end <= self._target[1]
        return within and not any(self._taken[start:end])

    def _with_kept(self, span: Span, start: int, end: int) -> Range:
        """As far as the parts within it that were kept."""
        for at, (left, right) in self._kept.items():
            wide = min(start, left), max(end, right)
            if span.start <= at < span.end and self._free(*wide):
                start, end = wide
        return start, end

    def _nearest(self, span: Span, places: Sequence[Range]) -> Range | None:
        there = self._there((span.start + span.end) / 2)
        return min(places, key=lambda one: abs(sum(one) / 2 - there), default=None)

    def _alike(self, span: Span) -> Range | None:
        """Where most words are that the part has as it is, or translated alone."""
        core = self._marked.core(span)
        words = WORD.findall(self._alone.get(core, core).lower())
        wanted, size = {*words, *WORD.findall(core.lower())}, len(words)
        near = self._near(span.start, span.end)
        places = self._words[near]
        hits = [
            word in wanted and not self._taken[start]
            for word, (start, _) in zip(self._said[near], places, strict=True)
        ]
        counts = [0, *accumulate(hits)]
        best: list[tuple[int, Range]] = []
        for first, hit in enumerate(hits):
            last = min(first + size, len(hits))
            count = counts[last] - counts[first]
            if hit and 2 * count >= size:
                while not hits[last - 1]:
                    last -= 1
                place = (places[first][0], places[last - 1][1])
                if self._free(*place):
                    best.append((count, place))
        most = max((count for count, _ in best), default=0)
        return self._nearest(span, [place for count, place in best if count == most])

    def _as_far(self, span: Span) -> Range:
        """Whole words that are as far into the translation as the part is into the text."""
        from_, to = self._there(span.start), self._there(span.end)
        near = self._words[self._near(span.start, span.end)]
        free = [word for word in near if not self._taken[word[0]]]
        if not free:
            return self.point(span.start)
        inside = [word for word in free if from_ <= sum(word) / 2 <= to]
        start, end = inside[0] if inside else min(
            free, key=lambda word: abs(sum(word) - from_ - to)
        )  # fmt: skip
        for _, until in inside[1:]:
            if any(self._taken[end:until]):
                break
            end = until
        return start, end

    def _with_end(self, span: Span, place: Range) -> Range:
        """With the mark behind it where the part has that, too: `word.` stays whole."""
        start, end = place
        after = self._made[end : end + 1].strip()
        said = self._marked.said(span).rstrip()
        fits = after and after in AROUND and said.endswith(after) and start < end < self._target[1]
        return (start, end + 1) if fits and not self._taken[end] else place
