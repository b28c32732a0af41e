"""a run → requests without a right answer, by what became of them."""

from loadtests.page.style import COLOURS, Picture, legend, panels
from loadtests.results import Fault, Run

TITLE = "Errors by kind"
ABOUT = (
    "Requests that got no right answer. What was said of the first of each kind is in the table."
)


def draw(name: str, run: Run, *, void: bool) -> Picture | None:
    """None where every answer was right."""
    cells = [cell for cell in run.cells() if cell.failed]
    if not cells:
        return None
    kinds = [kind for kind in Fault if any(kind in cell.faults for cell in cells)]
    with panels(height=1.5 + 0.42 * len(cells)) as (figure, [axes]):
        ends = [0.0] * len(cells)
        for kind in kinds:
            widths = [cell.faults[kind].count if kind in cell.faults else 0 for cell in cells]
            colour = COLOURS[list(Fault).index(kind) % len(COLOURS)]
            axes.barh(
                range(len(cells)), widths, left=ends, color=colour, label=kind.value, height=0.6
            )
            ends = [end + width for end, width in zip(ends, widths, strict=True)]
        axes.set_yticks(range(len(cells)), [f"{cell.task}\n{cell.door}" for cell in cells])
        axes.tick_params(axis="y", length=0, labelsize=8)
        axes.invert_yaxis()
        axes.grid(visible=False, axis="y")
        axes.set_xlabel("requests")
        legend(figure, axes, columns=3)
        return Picture(name, TITLE, ABOUT, figure, void=void)
