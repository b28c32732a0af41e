"""a run's samples of the server → its processors, memory, waiting and batches over time."""

from collections.abc import Callable, Mapping
from math import nan

from matplotlib.axes import Axes

from loadtests.page.style import COLOURS, Picture, legend, panels
from loadtests.results import Run, ServerSample

TITLE = "The server over time"
ABOUT = (
    "From /metrics: processors kept busy, resident memory, requests not yet answered, the cost of "
    "those that wait (what a task counts: tokens, frames or pixels), and the rows of its batches "
    "and decoding steps."
)

ALL = "all tasks"


def _lines(axes: Axes, run: Run, of: Callable[[ServerSample], dict[str, float]]) -> None:
    """One line for each task, in the same colour everywhere, or one for all of them."""
    tasks = [cell.task for cell in run.cells()]
    names = list(dict.fromkeys([*tasks, *(name for each in run.samples for name in of(each))]))
    known = [name for name in names if any(name in of(each) for each in run.samples)]
    at = [each.at_s for each in run.samples]
    for name in known:
        colour = COLOURS[names.index(name) % len(COLOURS)] if name != ALL else COLOURS[6]
        heights = [of(each).get(name, nan) for each in run.samples]
        axes.plot(at, heights, color=colour, label=name if name != ALL else None, lw=1.3)


def rows(sample: ServerSample) -> dict[str, float]:
    """Task → rows of its decoding steps, or of its batches where it has no steps."""
    return {**sample.batch_rows, **sample.step_rows}


SEEN: Mapping[str, Callable[[ServerSample], dict[str, float]]] = {
    "processors": lambda each: {} if each.cpu_cores is None else {ALL: each.cpu_cores},
    "memory, MiB": lambda each: {} if each.rss_bytes is None else {ALL: each.rss_bytes / 2**20},
    "in flight": lambda each: each.in_flight,
    "waiting, cost": lambda each: each.queue_cost,
    "rows": rows,
}


def draw(name: str, run: Run, *, void: bool) -> Picture | None:
    """None where the server told nothing over time."""
    if len(run.samples) < 2:
        return None
    told = {unit: of for unit, of in SEEN.items() if any(of(each) for each in run.samples)}
    if not told:
        return None
    with panels(len(told), height=0.9 + 1.35 * len(told)) as (figure, every):
        for axes, (unit, of) in zip(every, told.items(), strict=True):
            _lines(axes, run, of)
            axes.set_ylabel(unit)
            axes.set_ylim(bottom=0)
        every[-1].set_xlabel("seconds")
        legend(figure, every[-1])
        figure.align_ylabels()
        return Picture(name, TITLE, ABOUT, figure, void=void)
