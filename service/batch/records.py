"""a file or a folder → its items one by one: lines of text, JSON or TSV, rows of Parquet, files."""

import hashlib
import os
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from service.errors import InvalidInput, Problem
from service.json_body import from_json

MAX_LINE_BYTES = 1 << 20
MAX_FILE_BYTES = 128 << 20
"""Of a file that is an item of its own; no more of it is read, and every task refuses less."""
MAX_DEPTH = 100
"""Of arrays and objects in each other, in a line of JSON."""
ROWS = 64
"""Of Parquet, that are read at a time."""
MARK = b"\xef\xbb\xbf"
"""What may stand before UTF-8."""

Columns = dict[str, Any]


class Record(NamedTuple):
    """One item, which is read when its turn comes."""

    file: str
    """Below the folder that was asked for."""
    row: int
    """Which of its file, from 0; a header does not count."""
    size_bytes: float
    """Of the input; those of a file add up to its size."""
    read: Callable[[], Columns]
    """What the item holds, by column. Raises a Problem, where that cannot be said."""


def files(path: Path) -> Iterator[Path]:
    """The file, or those of the folder and the folders in it, by name; none that is hidden."""
    if not path.is_dir():
        yield path
        return
    with os.scandir(path) as found:
        entries = sorted(found, key=lambda entry: entry.name)
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from files(Path(entry))
        elif entry.is_file():
            yield Path(entry)


def digest(path: Path) -> tuple[str, int]:
    """What tells the input from any other: names, sizes and times of its files; and their size."""
    seen, size_bytes = hashlib.sha256(), 0
    for file in files(path):
        found = file.stat()
        seen.update(f"{file.relative_to(path)!r} {found.st_size} {found.st_mtime_ns}\n".encode())
        size_bytes += found.st_size
    return seen.hexdigest(), size_bytes


def records(path: Path, content: str) -> Iterator[Record]:
    """Every item of a file or a folder; `content` is the column of one that has no columns."""
    for file in files(path):
        below = file.relative_to(path if path.is_dir() else path.parent)
        name = os.fsencode(below).decode(errors="backslashreplace")
        yield from READERS.get(file.suffix, _whole)(file, name, content)


def _lines(file: BinaryIO) -> Iterator[tuple[int, bytes | None]]:
    """Lines with how many bytes of the file they take; None for one that is too long."""
    while line := file.readline(MAX_LINE_BYTES):
        size = len(line)
        whole = size < MAX_LINE_BYTES or line.endswith(b"\n")
        while not whole and (rest := file.readline(MAX_LINE_BYTES)):
            size += len(rest)
            whole = rest.endswith(b"\n")
        too_long = size > MAX_LINE_BYTES
        yield size, None if too_long else line.removesuffix(b"\n").removesuffix(b"\r")


def _text(line: bytes | None) -> str:
    if line is None:
        raise InvalidInput(f"the line is longer than {MAX_LINE_BYTES} bytes")
    try:
        return line.removeprefix(MARK).decode()
    except UnicodeDecodeError as error:
        raise InvalidInput("the line is not UTF-8") from error


def _of_lines(
    path: Path, name: str, read: Callable[[bytes | None], Columns], *, skip: int = 0
) -> Iterator[Record]:
    with path.open("rb") as file:
        lines = _lines(file)
        before = sum(size for size, _ in islice(lines, skip))
        for row, (size, line) in enumerate(lines):
            yield Record(name, row, before + size, partial(read, line))
            before = 0


def _texts(path: Path, name: str, content: str) -> Iterator[Record]:
    return _of_lines(path, name, lambda line: {content: _text(line)})


def _json(line: bytes | None) -> Columns:
    try:
        found = from_json(_text(line).encode(), MAX_DEPTH)
    except ValueError as error:
        raise InvalidInput("the line is not JSON") from error
    if not isinstance(found, dict):
        raise InvalidInput("the line is not a JSON object")
    return found


def _objects(path: Path, name: str, _: str) -> Iterator[Record]:
    return _of_lines(path, name, _json)


def _table(path: Path, name: str, _: str) -> Iterator[Record]:
    """Cells between tabs, under a line of names; no quotes."""
    with path.open("rb") as file:
        header = next(_lines(file), (0, b""))[1]
    names = _text(header).split("\t")

    def cells(line: bytes | None) -> Columns:
        found = _text(line).split("\t")
        if len(found) != len(names):
            raise InvalidInput(f"the line has {len(found)} cells, not {len(names)}")
        return dict(zip(names, found, strict=True))

    return _of_lines(path, name, cells, skip=1)


def _given(value: Any) -> Any:
    """Without the members of a struct that are null: Parquet has no other way to leave one out."""
    if isinstance(value, list):
        return [_given(each) for each in value]
    if isinstance(value, dict):
        return {name: _given(each) for name, each in value.items() if each is not None}
    return value


def _rows(path: Path, name: str, _: str) -> Iterator[Record]:
    """Columns that are null stay: whether they may be, the task says."""
    import pyarrow.parquet

    with pyarrow.parquet.ParquetFile(path) as file:
        size = path.stat().st_size / max(file.metadata.num_rows, 1)
        row = 0
        for batch in file.iter_batches(batch_size=ROWS):
            for columns in batch.to_pylist():
                found = {column: _given(value) for column, value in columns.items()}
                yield Record(name, row, size, partial(dict, found))
                row += 1


def content_of(path: Path) -> bytes:
    """A whole file; of one that no task takes, the beginning."""
    try:
        with path.open("rb") as file:
            # To ask for so many bytes makes room for all of them.
            size = os.fstat(file.fileno()).st_size
            return file.read(MAX_FILE_BYTES if size > MAX_FILE_BYTES else -1)
    except OSError as error:
        raise Problem(f"{path.name}: {error.strerror}") from error


def _whole(path: Path, name: str, content: str) -> Iterator[Record]:
    yield Record(name, 0, path.stat().st_size, lambda: {content: content_of(path)})


READERS = {".txt": _texts, ".jsonl": _objects, ".tsv": _table, ".parquet": _rows}
"""Suffix → how a file with it is read; any other is one item as a whole."""
