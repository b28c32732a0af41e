"""differences → by how much B is more or less than A, with what is only noise in grey."""

from collections.abc import Sequence

from loadtests.page.style import BAD, COLOURS, INK, Picture, panels
from loadtests.verdict.differences import Difference

TITLE = "B against A"
ABOUT = (
    "Change from A to B with its confidence interval. Grey: no difference larger than noise; the "
    "interval says how large a difference it could still hide."
)
NOISE = "#8d99a6"


def draw(name: str, found: Sequence[Difference], *, void: bool) -> Picture | None:
    """None where nothing could be compared."""
    if not found:
        return None
    colours = {"better": COLOURS[2], "worse": BAD}
    with panels(height=1.2 + 0.3 * len(found)) as (figure, [axes]):
        axes.axvline(0, color=INK, lw=1)
        for row, each in enumerate(found):
            colour = colours.get(each.verdict, NOISE)
            axes.plot([100 * each.low, 100 * each.high], [row, row], color=colour, lw=3, alpha=0.5)
            axes.plot([100 * each.change], [row], "o", color=colour, ms=6)
        labels = [f"{each.subject} {each.figure}" for each in found]
        axes.set_yticks(range(len(found)), labels, fontsize=7.5)
        axes.invert_yaxis()
        axes.set_xlabel("change, %")
        return Picture(name, TITLE, ABOUT, figure, void=void)
