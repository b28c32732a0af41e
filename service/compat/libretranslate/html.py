"""html → its texts, block by block, with their inline elements as marks; and back (lxml, BSD).

Scripts, styles, code and what says `translate="no"` stay as they are.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from lxml import etree
from lxml import html as lxml_html

from service.compat.libretranslate.projection import Marked, Span

BLOCKS = re.compile(
    "address|article|aside|audio|blockquote|body|br|caption|center|col|colgroup|dd|details|dialog|"
    "dir|div|dl|dt|embed|fieldset|figcaption|figure|footer|form|frame|frameset|h[1-6r]|head|header|"
    "hgroup|html|iframe|legend|li|main|menu|nav|noscript|object|ol|optgroup|option|p|section|"
    "select|summary|table|tbody|td|tfoot|th|thead|title|tr|ul|video"
)
"""A sentence does not go on beyond one of these."""
UNSEEN = {"link", "meta", "script", "style", "template"}
KEPT = {"canvas", "code", "kbd", "math", "pre", "samp", "svg", "textarea", "var"} | UNSEEN
WHOLE = re.compile(rb"\s*(<!--.*?-->\s*)*<(!doctype|html|head|body)\b", re.DOTALL | re.IGNORECASE)
CHARSET = re.compile(rb"<meta[^>]+charset\s*=\s*[\"']?([\w-]+)", re.IGNORECASE)
SPACE = re.compile(r"[ \t\r\n\f]+")
CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff\ufffe\uffff]")
"""Has no place in a tree of html."""
Element = Any


def _kept(element: Element) -> bool:
    if not isinstance(element.tag, str):  # a comment
        return True
    said = element.get("translate", "").lower() == "no"
    return said or element.tag in KEPT or "notranslate" in element.get("class", "").split()


def _holders(root: Element) -> set[Element]:
    """Blocks, and what has one within it."""
    found: set[Element] = set()
    for element in root.iter(etree.Element):
        if BLOCKS.fullmatch(element.tag):
            holder = element
            while holder is not None and holder not in found:
                found.add(holder)
                holder = holder.getparent()
    return found


@dataclass(frozen=True)
class _Block:
    """Neighbours within a parent, after `before` or at its start; white space around their text."""

    parent: Element
    before: Element | None
    members: Sequence[Element]
    lead: str
    trail: str


class _Reading:
    """Text as it is shown, with runs of white space as one, and where elements stand in it."""

    def __init__(self) -> None:
        self.text, self.lead = "", ""

    def take(self, text: str | None) -> None:
        if not text:
            return
        shown = SPACE.sub(" ", text)
        if not self.text:
            self.lead += text[: len(text) - len(text.lstrip(" \t\r\n\f"))]
        if not self.text or self.text.endswith(" "):
            shown = shown.lstrip(" ")
        self.text += shown

    def span(self, element: Element) -> Span:
        if _kept(element):
            return self._whole_word(element)
        start = len(self.text)
        self.take(element.text)
        inner = []
        for child in element:
            inner.append(self.span(child))
            self.take(child.tail)
        return Span(start, len(self.text), element, tuple(inner))

    def _whole_word(self, element: Element) -> Span:
        """What is kept, apart from words beside it."""
        unseen = not isinstance(element.tag, str) or element.tag in UNSEEN
        said = SPACE.sub(" ", "" if unseen else "".join(element.itertext())).strip(" ")
        if said and self.text[-1:].isalnum():
            self.text += " "
        start = len(self.text)
        self.text += said
        tail = (element.tail or "")[:1]
        if said and (tail.isalnum() or (not tail and element.getnext() is not None)):
            self.text += " "
        return Span(start, start + len(said), element, kept=True)


class Html:
    """A page, or a part of one."""

    def __init__(self, text: str, encoding: str = "utf-8") -> None:
        """`encoding` is of its bytes. Raises ValueError for what is nested too deep."""
        self._encoding = encoding
        # A tree of html is made of bytes only, for text may name an encoding, too.
        content = text.encode("utf-8", "replace")
        parser = lxml_html.HTMLParser(encoding="utf-8")
        self._whole = WHOLE.match(content) is not None
        if self._whole:
            self._root = lxml_html.document_fromstring(content, parser=parser)
        else:
            self._root = lxml_html.fragment_fromstring(content, create_parent="div", parser=parser)
        if any("depth" in fault.message for fault in parser.error_log):
            raise ValueError("elements are nested too deep")
        self._holders = _holders(self._root)
        self._blocks: list[_Block] = []
        self.marked: list[Marked] = []
        for block, marked in self._found(self._root):
            self._blocks.append(block)
            self.marked.append(marked)

    @classmethod
    def of_file(cls, content: bytes) -> "Html":
        """In the encoding that the page names; raises LookupError for an unknown one."""
        named = CHARSET.search(content[:4_096])
        encoding = named[1].decode() if named else "utf-8-sig"
        return cls(content.decode(encoding), encoding.removesuffix("-sig"))

    def _found(self, parent: Element) -> Iterator[tuple[_Block, Marked]]:
        if _kept(parent):
            return
        before, members = None, []
        for child in [*parent]:
            if child not in self._holders:
                members.append(child)
                continue
            yield from self._block(parent, before, members)
            yield from self._found(child)
            before, members = child, []
        yield from self._block(parent, before, members)

    def _block(
        self, parent: Element, before: Element | None, members: Sequence[Element]
    ) -> Iterator[tuple[_Block, Marked]]:
        reading = _Reading()
        reading.take(parent.text if before is None else before.tail)
        spans = []
        for member in members:
            spans.append(reading.span(member))
            reading.take(member.tail)
        text = reading.text.rstrip(" ")
        own = "".join(
            text[a:b] for a, b in _uncovered(len(text), [one for one in spans if one.kept])
        )
        if any(map(str.isalpha, own)):
            trail = " " if len(text) < len(reading.text) else ""
            yield (
                _Block(parent, before, members, reading.lead, trail),
                Marked(text, tuple(_clipped(spans, len(text)))),
            )

    def fill(self, at: int, made: str, spans: Sequence[Span]) -> None:
        block, made = self._blocks[at], CONTROL.sub("", made)
        for member in block.members:
            block.parent.remove(member)
        first = 0 if block.before is None else block.parent.index(block.before) + 1
        text = _built(block.parent, first, made, (0, len(made)), spans, trail=block.trail)
        if block.before is None:
            block.parent.text = block.lead + text
        else:
            block.before.tail = block.lead + text

    def text(self) -> str:
        """What there is to translate."""
        return "\n".join(marked.text for marked in self.marked)

    def content(self) -> bytes:
        """As bytes in the encoding that they came in."""
        return str(self).encode(self._encoding, "xmlcharrefreplace")

    def __str__(self) -> str:
        if self._whole:
            doctype = self._root.getroottree().docinfo.doctype or None
            page: str = etree.tostring(
                self._root, method="html", encoding="unicode", doctype=doctype
            )
            return page
        parts = [etree.tostring(child, method="html", encoding="unicode") for child in self._root]
        return escape(self._root.text or "", quote=False) + "".join(parts)


def _uncovered(length: int, spans: Sequence[Span]) -> Iterator[tuple[int, int]]:
    at = 0
    for span in spans:
        yield at, span.start
        at = span.end
    yield at, length


def _clipped(spans: Sequence[Span], length: int) -> Iterator[Span]:
    for span in spans:
        inner = tuple(_clipped(span.inner, length))
        start, end = min(span.start, length), min(span.end, length)
        yield Span(start, end, span.mark, inner, span.kept)


def _built(
    parent: Element, first: int, text: str, within: tuple[int, int], spans: Sequence[Span],
    trail: str = "",
) -> str:  # fmt: skip
    """Put elements at an index of their parent; returns the text before them."""
    edges = [*(span.start for span in spans), within[1]]
    for at, span in enumerate(spans):
        element = span.mark
        apart = span.start == span.end and (element.tail or "")[:1].isspace()
        if not span.kept:
            for child in [*element]:
                element.remove(child)
            element.text = _built(element, 0, text, (span.start, span.end), span.inner)
        tail = text[span.end : edges[at + 1]] + (trail if at == len(spans) - 1 else "")
        element.tail = f" {tail}" if apart and tail[:1].strip() else tail
        parent.insert(first + at, element)
    return text[within[0] : edges[0]] + ("" if spans else trail)
