"""what was tried, seen and wanted → a table, a line in docs/serving.json, an exit code."""

import os
import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import typer
from pydantic import BaseModel, ConfigDict
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

Met = Literal["yes", "no", "shown", "skipped"]
RECORDS = Path("docs/serving.json")


class Row(BaseModel):
    """One thing that was tried."""

    model_config = ConfigDict(extra="forbid")

    tried: str
    saw: str
    wanted: str = ""
    met: Met = "shown"
    """`shown` where nothing was asked for, `skipped` where it could not be tried."""


def judged(tried: str, saw: str, wanted: str, *, met: bool) -> Row:
    return Row(tried=tried, saw=saw, wanted=wanted, met="yes" if met else "no")


def machine() -> str:
    """The processor, and how many of them."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{[*named, platform.processor()][0]}, {os.cpu_count()} cores"


class Record(BaseModel):
    """The last full run of a command."""

    model_config = ConfigDict(extra="forbid")

    date: str
    machine: str
    terms: dict[str, str]
    """How it was run: seeds, durations, counts."""
    rows: list[Row]


class Records(BaseModel):
    """All commands, each from the last time it was recorded."""

    model_config = ConfigDict(extra="forbid")

    commands: dict[str, Record] = {}


def read(path: Path = RECORDS) -> Records:
    return Records.model_validate_json(path.read_text()) if path.exists() else Records()


def table(title: str, rows: Sequence[Row]) -> Table:
    view = Table("tried", "saw", "wanted", "met", title=title, box=SIMPLE, padding=(0, 1))
    colours = {"no": "red", "skipped": "yellow"}
    for row in rows:
        view.add_row(row.tried, row.saw, row.wanted, row.met, style=colours.get(row.met, ""))
    return view


def keep(command: str, rows: Sequence[Row], terms: Mapping[str, object], record: Path) -> None:
    """Put a command's table into the file in place of its last one."""
    records = read(record)
    records.commands[command] = Record(
        date=datetime.now(UTC).date().isoformat(),
        machine=machine(),
        terms={name: str(value) for name, value in terms.items()},
        rows=list(rows),
    )
    record.write_text(records.model_dump_json(indent=1) + "\n")


def conclude(
    command: str,
    rows: Sequence[Row],
    terms: Mapping[str, object],
    *,
    record: Path | None,
) -> None:
    """Print the table, keep it if asked to, and exit with 1 where something was missed."""
    Console(width=None if Console().is_terminal else 140).print(table(command, rows))
    if record:
        keep(command, rows, terms, record)
    raise typer.Exit(int(not rows or any(row.met == "no" for row in rows)))
