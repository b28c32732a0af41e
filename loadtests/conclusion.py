"""results → their verdict in the terminal, the report in a folder, and the exit code."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from loadtests.page.sections import section
from loadtests.page.write import write
from loadtests.results import Comparison, Result, Run, Search
from loadtests.verdict import baseline, judge
from loadtests.verdict.baseline import Baseline
from loadtests.verdict.budgets import Budgets
from loadtests.verdict.judge import Row
from loadtests.verdict.show import show

COLOURS = {"passed": "bold green", "not judged": "yellow"}


def judged(results: Sequence[Result], budgets: Budgets, older: Baseline | None) -> list[Row]:
    """Everything that can be held against the budgets, then against the baseline."""
    rows: list[Row] = []
    for result in results:
        match result:
            case Run():
                rows += judge.of_run(result, budgets)
            case Search():
                rows += judge.of_search(result, budgets)
            case Comparison():
                pass  # A is its own measure
    if older:
        kept = [result for result in results if not isinstance(result, Comparison)]
        rows += baseline.against(kept, older, budgets.baseline.tolerance)
    return rows


def conclude(
    results: Sequence[Result],
    folder: Path,
    *,
    budgets: Budgets,
    older: Baseline | None,
    console: Console,
) -> int:
    """Show and write everything; 1 where a result is void or a figure is not as wanted."""
    shown = [section(result, place) for place, result in enumerate(results, 1)]
    rows = judged(results, budgets, older) + [row for each in shown for row in each.rows]
    state = write(results, shown, rows, folder)
    show(rows, console)
    for reason in dict.fromkeys(reason for each in shown for reason in each.void):
        console.print(f"void: {reason}", style="bold red", markup=False)
    console.print(f"{state}: {folder / 'report.html'}", style=COLOURS.get(state, "bold red"))
    return int(state in ("void", "failed"))
