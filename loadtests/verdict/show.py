"""rows of a verdict → what a terminal shows of them."""

from collections.abc import Sequence

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from loadtests.verdict.judge import Row

COLOURS = {"no": "red", "unproven": "red", "skipped": "yellow"}


def show(rows: Sequence[Row], console: Console) -> None:
    """A table, with what is missed in red."""
    view = Table("what", "figure", "saw", "wanted", "met", box=SIMPLE, padding=(0, 1))
    for row in rows:
        view.add_row(
            row.subject, row.figure, row.saw, row.wanted, row.met, style=COLOURS.get(row.met, "")
        )
    if rows:
        console.print(view)
    for row in rows:
        if row.why and row.met != "yes":
            said = f"{row.met}: {row.subject} {row.figure}: {row.why}"
            console.print(said, style=COLOURS.get(row.met, ""), markup=False, highlight=False)
