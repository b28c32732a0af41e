"""a run → where the mean latency goes: stages of the answer, the way there and the generator."""

from collections.abc import Mapping

from loadtests.page.style import COLOURS, RULE, Picture, legend, number, panels
from loadtests.results import Cell, Run

TITLE = "Where the time goes"
ABOUT = (
    "Mean times of right answers, one after the other. Stages are what the server says in "
    "`timings_ms`; the way is what is missing to the time the caller saw, and late sending what "
    "the generator added."
)
ORDER = ("preprocess", "queue", "batch_wait", "encode", "decode", "compute", "postprocess", "post")
WAY, LATE = "way there and back", "late sending"


def parts_ms(cell: Cell) -> Mapping[str, float]:
    """Stage → mean milliseconds; all parts together are the mean latency."""
    known = [name for name in ORDER if name in cell.stages]
    parts = {
        name: cell.stages[name].mean_ms
        for name in [*known, *(name for name in cell.stages if name not in known)]
    }
    seen_ms = cell.service.mean_ms or cell.latency.mean_ms
    parts[WAY] = max(0.0, seen_ms - sum(parts.values()))
    parts[LATE] = max(0.0, cell.latency.mean_ms - seen_ms)
    return parts


def draw(name: str, run: Run, *, void: bool) -> Picture | None:
    """None where no answer told its stages."""
    cells = [cell for cell in run.cells() if cell.latency.count and cell.stages]
    if not cells:
        return None
    parts = [parts_ms(cell) for cell in cells]
    names = [each for each in ORDER if any(each in part for part in parts)]
    names += [each for part in parts for each in part if each not in (*names, WAY, LATE)]
    names = [*dict.fromkeys(names), WAY, LATE]
    with panels(height=1.7 + 0.42 * len(cells) + 0.2 * len(names) / 3) as (figure, [axes]):
        ends = [0.0] * len(cells)
        for place, stage in enumerate(names):
            widths = [part.get(stage, 0.0) for part in parts]
            colour = {WAY: "#8d99a6", LATE: RULE}.get(stage, COLOURS[place % len(COLOURS)])
            axes.barh(range(len(cells)), widths, left=ends, color=colour, label=stage, height=0.6)
            ends = [end + width for end, width in zip(ends, widths, strict=True)]
        axes.set_yticks(range(len(cells)), [f"{cell.task}\n{cell.door}" for cell in cells])
        axes.tick_params(axis="y", length=0, labelsize=8)
        for row, end in enumerate(ends):
            axes.text(end, row, f" {number(end)}", va="center", fontsize=8.5)
        axes.margins(x=0.12)
        axes.invert_yaxis()
        axes.grid(visible=False, axis="y")
        axes.set_xlabel("mean latency, ms")
        legend(figure, axes, columns=3)
        return Picture(name, TITLE, ABOUT, figure, void=void)
