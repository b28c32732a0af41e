"""a text, html or a file → the same in another language, its marks about the same words."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol

from service.compat.libretranslate.glossary import Terms, Translate, with_terms
from service.compat.libretranslate.projection import Marked, Projection, Span


class Document(Protocol):
    """What holds texts, each of which is translated as a whole."""

    @property
    def marked(self) -> Sequence[Marked]: ...

    def fill(self, at: int, made: str, spans: Sequence[Span]) -> None:
        """Put a translation and its marks in the place of one of the texts."""

    def content(self) -> bytes:
        """All of it, as it is now."""


async def translate(
    document: Document, terms: Terms, translate: Translate, cut: Callable[[str], Sequence[str]]
) -> None:
    """Fill a document with translations; `cut` makes a text sentences."""
    asked: list[tuple[str, Terms]] = []
    for marked in document.marked:
        kept = {marked.said(span).strip() for span in marked.each() if span.kept} - {""}
        asked.append((marked.text, {**terms, **{words: words for words in kept}}))
        asked += [(part, terms) for part in marked.asked()]
    made = iter(await with_terms(asked, translate, cut))

    def fill() -> None:
        for at, marked in enumerate(document.marked):
            text = next(made).text
            alone = {part: next(made).text for part in marked.asked()}
            document.fill(at, text, Projection(marked, text, alone).spans())

    await asyncio.to_thread(fill)


class Lines:
    """A plain text: each line is translated alone."""

    def __init__(self, content: bytes) -> None:
        """Raises ValueError for what is not UTF-8."""
        self._lines = content.decode("utf-8-sig").split("\n")
        self._at = [at for at, line in enumerate(self._lines) if any(map(str.isalpha, line))]
        self.marked = [Marked(self._lines[at]) for at in self._at]

    def fill(self, at: int, made: str, spans: Sequence[Span]) -> None:
        self._lines[self._at[at]] = made

    def content(self) -> bytes:
        return "\n".join(self._lines).encode()
