"""a Word file → the texts of its paragraphs, with differing runs as marks; and back.

Only the parts that hold text are written anew; all others are copied as they are. Tabs, line
breaks, fields and pictures keep their places, and what stands between them is translated.
https://ecma-international.org/publications-and-standards/standards/ecma-376/
"""

import io
from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any
from zipfile import ZIP_DEFLATED, BadZipFile, ZipFile
from zlib import error as ZlibError

from lxml import etree

from service.compat.libretranslate.html import CONTROL
from service.compat.libretranslate.projection import Marked, Span
from service.errors import TooLarge

W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
SPACE = "{http://www.w3.org/XML/1998/namespace}space"
PARTS = ("word/document", "word/header", "word/footer", "word/footnotes", "word/endnotes")
RUN, TEXT, PROPERTIES = f"{W}r", f"{W}t", f"{W}rPr"
AROUND = {f"{W}hyperlink", f"{W}ins", f"{W}smartTag"}
"""Elements that hold runs as a part of the sentence."""
POINTS = {f"{W}{name}" for name in ("bookmarkStart", "bookmarkEnd", "commentRangeStart",
          "commentRangeEnd")}  # fmt: skip
REFERENCES = {f"{W}{name}" for name in ("footnoteReference", "endnoteReference",
              "commentReference")}  # fmt: skip
HINTS = {f"{W}{name}" for name in ("proofErr", "lastRenderedPageBreak")}
UNSEEN = {f"{W}{name}" for name in ("lang", "noProof")}
"""Properties of a run that nobody sees."""
MOST_FILES = 4_096
UNREADABLE = (BadZipFile, NotImplementedError, RuntimeError, OSError, EOFError, ZlibError)
"""What `zipfile` raises of damage, of an unknown compression and of a password."""
Element = Any


@dataclass(frozen=True)
class _Mark:
    """What stands around a part of a text: a run, an element with runs, or a point."""

    element: Element
    base: Element | None = None
    """Of an element with runs: the run that most of its text is in."""


@dataclass(frozen=True)
class _Block:
    """Neighbours within a paragraph, and the run that most of their text is in."""

    parent: Element
    members: Sequence[Element]
    base: Element


def _look(run: Element) -> bytes:
    """What tells runs apart."""
    properties = run.find(PROPERTIES)
    if properties is None:
        return b""
    seen = [one for one in properties if one.tag not in UNSEEN]
    return b"".join(etree.tostring(one, method="c14n") for one in seen)


def _simple(root: Element) -> None:
    """Runs of one content each, without what a reader of the file notes for itself."""
    for hint in [*root.iter(*HINTS)]:
        hint.getparent().remove(hint)
    for run in [*root.iter(RUN)]:
        properties = run.find(PROPERTIES)
        content = [one for one in run if one is not properties]
        for extra in content[1:][::-1]:
            another = etree.Element(RUN, run.attrib, run.nsmap)
            if properties is not None:
                another.append(deepcopy(properties))
            another.append(extra)
            run.addnext(another)


def _text(run: Element) -> str | None:
    """Of a run that holds text."""
    found = run.find(TEXT) if run.tag == RUN else None
    return None if found is None else found.text or ""


def _is_point(element: Element) -> bool:
    return element.tag in POINTS or (
        element.tag == RUN and any(child.tag in REFERENCES for child in element)
    )


def _flows(element: Element) -> bool:
    """It belongs to the sentence around it."""
    if element.tag in AROUND:
        return all(_flows(child) for child in element)
    return _is_point(element) or _text(element) is not None


def _base(elements: Sequence[Element]) -> Element | None:
    """The first run of those that look like most of the text."""
    lengths: dict[bytes, int] = {}
    first: dict[bytes, Element] = {}
    for run in elements:
        text = _text(run)
        if text is not None:
            look = _look(run)
            lengths[look] = lengths.get(look, 0) + len(text)
            first.setdefault(look, run)
    return first[max(lengths, key=lambda look: lengths[look])] if lengths else None


def _spans(elements: Sequence[Element], base: Element | None, start: int) -> tuple[str, list[Span]]:
    """The text of neighbours, and what differs from the base as spans."""
    spans: list[Span] = []
    looks: list[bytes | None] = []
    said = ""
    for one in elements:
        at, text = start + len(said), _text(one)
        if text is not None:
            said += text
            look = _look(one)
            if base is not None and look == _look(base):
                continue
            if looks and looks[-1] == look and spans[-1].end == at:
                spans[-1] = Span(spans[-1].start, at + len(text), spans[-1].mark)
                continue
            spans.append(Span(at, at + len(text), _Mark(one)))
            looks.append(look)
            continue
        inner_text, inner, own = "", list[Span](), None
        if one.tag in AROUND:
            own = _base(one)
            inner_text, inner = _spans([*one], own, at)
            said += inner_text
        spans.append(Span(at, at + len(inner_text), _Mark(one, own), tuple(inner)))
        looks.append(None)
    return said, spans


def _run(like: Element, text: str) -> Element:
    run = etree.Element(RUN, like.attrib, like.nsmap)
    properties = like.find(PROPERTIES)
    if properties is not None:
        run.append(deepcopy(properties))
    inner = etree.SubElement(run, TEXT)
    inner.text = text
    inner.set(SPACE, "preserve")
    return run


def _built(
    text: str, start: int, end: int, spans: Sequence[Span], base: Element
) -> Iterator[Element]:
    for span in spans:
        if start < span.start:
            yield _run(base, text[start : span.start])
        start = span.end
        mark = span.mark
        if mark.element.tag == RUN and not _is_point(mark.element):
            yield _run(mark.element, text[span.start : span.end])
            continue
        if mark.base is not None:
            inner = [*_built(text, span.start, span.end, span.inner, mark.base)]
            for child in [*mark.element]:
                mark.element.remove(child)
            mark.element.extend(inner)
        yield mark.element
    if start < end:
        yield _run(base, text[start:end])


class Docx:
    """The paragraphs of a document, its headers, footers and notes."""

    def __init__(self, content: bytes, limit_bytes: int | None) -> None:
        """Raises ValueError for what is no such file, TooLarge where it unpacks to too much."""
        self._parts: dict[str, Element] = {}
        self._blocks: list[_Block] = []
        self.marked: list[Marked] = []
        try:
            self._zip = ZipFile(io.BytesIO(content))
            entries = self._zip.infolist()
            size = sum(entry.file_size for entry in entries)
            if (limit_bytes is not None and size > limit_bytes) or len(entries) > MOST_FILES:
                raise TooLarge(f"the file unpacks to more than {limit_bytes} bytes", "file")
            self._files = {entry.filename: self._zip.read(entry) for entry in entries}
        except UNREADABLE as error:
            raise ValueError("not a zip file") from error
        if "word/document.xml" not in self._files:
            raise ValueError("not a Word file")
        for name in self._files:
            if name.startswith(PARTS) and name.endswith(".xml"):
                self._read(name)

    def _read(self, name: str) -> None:
        parser = etree.XMLParser(resolve_entities=False, no_network=True)
        try:
            root = etree.fromstring(self._files[name], parser)
        except etree.XMLSyntaxError as error:
            raise ValueError(f"{name} is not XML") from error
        if root.getroottree().docinfo.doctype:
            raise ValueError(f"{name} declares a document type")
        self._parts[name] = root
        _simple(root)
        for paragraph in root.iter(f"{W}p"):
            members: list[Element] = []
            for child in [*paragraph, None]:
                if child is not None and _flows(child):
                    members.append(child)
                    continue
                self._block(paragraph, members)
                members = []

    def _block(self, paragraph: Element, members: Sequence[Element]) -> None:
        base = _base(members)
        if base is None:  # perhaps all of it is a link
            base = next((one.base for one in map(_around, members) if one), None)
        if base is None:
            return
        text, spans = _spans(members, base, 0)
        if any(map(str.isalpha, text)):
            self._blocks.append(_Block(paragraph, members, base))
            self.marked.append(Marked(text, tuple(spans)))

    def fill(self, at: int, made: str, spans: Sequence[Span]) -> None:
        block, made = self._blocks[at], CONTROL.sub("", made)
        first = block.parent.index(block.members[0])
        new = [*_built(made, 0, len(made), spans, block.base)]
        for member in block.members:
            if member.getparent() is block.parent:
                block.parent.remove(member)
        block.parent[first:first] = new

    def content(self) -> bytes:
        packed = io.BytesIO()
        with ZipFile(packed, "w", ZIP_DEFLATED) as made:
            for entry in self._zip.infolist():
                part = self._parts.get(entry.filename)
                made.writestr(
                    entry,
                    self._files[entry.filename]
                    if part is None
                    else etree.tostring(
                        part, xml_declaration=True, encoding="UTF-8", standalone=True
                    ),
                )
        return packed.getvalue()


def _around(element: Element) -> _Mark | None:
    base = _base(element) if element.tag in AROUND else None
    return None if base is None else _Mark(element, base)
