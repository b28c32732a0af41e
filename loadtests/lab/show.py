"""a run, or a search → what a terminal shows of it: progress meanwhile, a table at the end."""

from collections.abc import Callable

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from loadtests.lab.samples import Counts
from loadtests.results import Cell, Phase, Run, Search

EVERY_S = 5.0
"""Between two lines of progress."""


def progress(console: Console, wanted_s: float) -> Callable[[Counts, float], None]:
    """Told of the counts again and again, prints a line now and then."""
    next_s = EVERY_S

    def told(counts: Counts, at_s: float) -> None:
        nonlocal next_s
        if at_s < next_s:
            return
        next_s += EVERY_S
        cells = list(counts.cells.values())
        answered, failed = sum(each.answered for each in cells), sum(each.failed for each in cells)
        p99_ms = max((each.latency.percentile_ms(0.99) for each in cells), default=0.0)
        line = f"{at_s:4.0f} of {wanted_s:.0f} s: {answered:,} answered, {failed:,} failed"
        console.print(f"{line}, p99 {p99_ms:.1f} ms", style="dim", highlight=False)

    return told


def rate_of(cell: Cell, phase: Phase) -> float:
    return cell.items / phase.duration_s


def table(run: Run) -> Table:
    """One row for each task and door of each phase."""
    view = Table(title=f"{run.terms.scenario}, seed {run.terms.seed}", box=SIMPLE, padding=0)
    phased = len(run.phases) > 1
    for column in (["phase"] if phased else []) + ["task", "door"]:
        view.add_column(column)
    ratios = sorted({0.5, 0.95, run.terms.percentile, 0.999})
    times = [f"p{100 * ratio:g} ms" for ratio in ratios]
    for column in ("sent", "right", "per s", *times, "failed"):
        view.add_column(column, justify="right")
    for phase in run.phases:
        for cell in phase.cells:
            view.add_row(
                *([phase.name] if phased else []), cell.task, cell.door, f"{cell.sent:,}",
                f"{cell.answered:,}", f"{rate_of(cell, phase):.1f}",
                *(f"{cell.latency.percentile_ms(ratio):.1f}" for ratio in ratios),
                f"{cell.failed:,}", style="red" if cell.failed else "",
            )  # fmt: skip
    return view


def show(run: Run, console: Console) -> None:
    console.print(table(run))
    for name, why in run.server.absent.items():
        console.print(f"not measured: {name}: {why}", style="yellow", markup=False)
    for cell in run.cells():
        for kind, faults in cell.faults.items():
            said = f"{cell.task} {cell.door}: {faults.count} {kind}; the first: {faults.first}"
            console.print(said, style="red", markup=False)
    if run.send_lag.count:
        p99_ms = run.send_lag.percentile_ms(0.99)
        console.print(f"send lag: p99 {p99_ms:.2f} ms", highlight=False)
    for reason in run.void:
        console.print(f"invalid: {reason}", style="bold red", markup=False)


def show_search(search: Search, console: Console) -> None:
    view = Table(box=SIMPLE, padding=0)
    view.add_column("what")
    for column in ("claimed", "most per s", "fails at", "there, ms", "trials"):
        view.add_column(column, justify="right")
    for found in search.found:
        held = [each for each in found.trials if each.held and each.rate_per_s == found.best_per_s]
        cells = held[-1].run.cells() if held else []
        ratio = found.trials[-1].run.terms.percentile if found.trials else search.percentile
        p99_ms = max((cell.latency.percentile_ms(ratio) for cell in cells), default=0.0)
        best = f"{found.best_per_s:.1f}" if found.best_per_s else "none"
        fails = f"{found.fails_per_s:.1f}" if found.fails_per_s else ""
        view.add_row(
            found.name, f"p{100 * ratio:g}", best, fails, f"{p99_ms:.1f}", str(len(found.trials)),
            style="" if found.best_per_s else "red",
        )  # fmt: skip
    console.print(view)
    for reason in search.void:
        console.print(f"invalid: {reason}", style="bold red", markup=False)
