"""what was measured → every reason why its figures must not be believed."""

from collections.abc import Sequence

from loadtests.histogram import Histogram
from loadtests.results import Cell, Fault, Phase, Run
from loadtests.validity import requests_needed

LAG_MS = 10.0
LAG_SHARE = 0.05
"""Lag counts into the latencies; up to this share of their p99 it changes nothing that matters."""


def reasons(run: Run, stopped: Sequence[str], *, together: bool = False) -> list[str]:
    """Empty where the run is valid.

    `together`: the percentile is claimed of all requests of a phase, not of each task and door.
    """
    found = list(stopped)
    cells = run.cells()
    if not sum(cell.answered for cell in cells):
        found.append("no right answer")
    for cell in cells:
        found += wrong(cell)
    if late := lag(run.send_lag, cells):
        found.append(late)
    if not stopped:
        found += [reason for phase in run.phases for reason in short(phase, run, together)]
    return found


def wrong(cell: Cell) -> list[str]:
    faults = cell.faults.get(Fault.WRONG)
    if faults is None:
        return []
    counted = f"{faults.count} of {cell.sent} answers of {cell.task} {cell.door} are wrong"
    return [f"{counted}; the first: {faults.first}"]


def lag(send_lag: Histogram, cells: Sequence[Cell]) -> str:
    """The generator was late: it measured itself, or the machine was busy with something else."""
    p99_ms = send_lag.percentile_ms(0.99)
    slowest_ms = max((cell.latency.percentile_ms(0.99) for cell in cells), default=0.0)
    allowed_ms = max(LAG_MS, LAG_SHARE * slowest_ms)
    if p99_ms <= allowed_ms:
        return ""
    return f"requests left late: p99 of the send lag is {p99_ms:.1f} ms, {allowed_ms:.1f} allowed"


def short(phase: Phase, run: Run, together: bool) -> list[str]:
    """Too few requests to claim the percentile, by the early-stopping table."""
    ratio = run.terms.percentile
    needed = requests_needed(0, ratio)
    sent = {f"{cell.task} {cell.door}": cell.sent for cell in phase.cells}
    if together:
        sent = {"the mix": sum(sent.values())}
    return [
        f"too short for its claim: {count} requests of {name} in {phase.name!r}, "
        f"p{100 * ratio:g} needs {needed}"
        for name, count in sent.items()
        if count < needed
    ]
