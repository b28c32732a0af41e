"""TSV or CSV file with a header, gzipped or not → its rows, each with where it stands."""

import csv
import gzip
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from models.survey import SPLITS, BadData, split_named


@dataclass(frozen=True)
class Row:
    """The cells of one line by the names of their columns, without white space around them."""

    at: str
    """File and line."""
    cells: dict[str, str]
    split: str
    """That of the column `split`; empty where there is none."""


def read_table(path: Path, *, delimiter: str, needed: Collection[str]) -> list[Row]:
    """Every line that is not blank; raises `BadData` with all that is wrong with the table."""
    open_text = gzip.open if path.suffix == ".gz" else open
    # Tabs stand in no text, so quotation marks are part of one.
    quoting: Literal[0, 3] = csv.QUOTE_NONE if delimiter == "\t" else csv.QUOTE_MINIMAL
    try:
        with open_text(path, "rt", encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, delimiter=delimiter, quoting=quoting, strict=True)
            lines = [(reader.line_num, line) for line in reader if any(map(str.strip, line))]
    except (OSError, EOFError, UnicodeDecodeError, csv.Error) as error:
        raise BadData(path, [f"is no table in UTF-8: {error}"]) from error
    if not lines:
        raise BadData(path, ["is empty"])
    header = [name.strip() for name in lines[0][1]]
    missing = [name for name in needed if name not in header]
    if missing or len(set(header)) < len(header):
        there = ", ".join(header)
        raise BadData(path, [f"lacks the columns {', '.join(missing)}; its header is {there}"])
    rows, faults = [], []
    for number, line in lines[1:]:
        at = f"{path.name}:{number}"
        cells = dict(zip(header, (cell.strip() for cell in line), strict=False))
        said = cells.pop("split", "")
        if len(line) != len(header):
            faults.append(f"{at} has {len(line)} columns, the header {len(header)}")
        elif "split" in header and not split_named(said):
            faults.append(f"{at}: split {said!r} is not one of {', '.join(SPLITS)}")
        else:
            rows.append(Row(at, cells, split_named(said)))
    if faults:
        raise BadData(path, faults)
    return rows
