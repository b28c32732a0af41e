"""recorded comparison → one picture of bars: a row of panels per task, closed and open."""

from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from loadtests.peers.chart import BAR_INCHES, HEAD_INCHES, OUR_COLOUR, THEIR_COLOUR
from loadtests.peers.report import number
from loadtests.serving.compare.peers import ATTENDANT
from loadtests.serving.compare.record import Comparison

WIDTH_INCHES = 9.0


def draw(comparison: Comparison, file: Path) -> None:
    """Nothing where nothing was measured."""
    tasks = {name: task for name, task in comparison.tasks.items() if task.measured()}
    if not tasks:
        return
    heights = [HEAD_INCHES + BAR_INCHES * len(task.measured()) for task in tasks.values()]
    figure, panels = plt.subplots(
        len(tasks),
        2,
        figsize=(WIDTH_INCHES, sum(heights)),
        squeeze=False,
        height_ratios=heights,
    )
    for (closed, opened), (name, task) in zip(panels, tasks.items(), strict=True):
        terms, measured = task.terms, task.measured()
        _bars(closed, {peer: each.closed_per_s for peer, each in measured.items()})
        _bars(opened, {peer: each.open_per_s or 0.0 for peer, each in measured.items()})
        closed.set_title(f"{name}\nclosed({terms.callers}), requests/s", fontsize=8)
        bound = f"p{terms.percentile * 100:g} under {terms.bound_ms:.0f} ms"
        opened.set_title(f"Poisson arrivals, {bound}, requests/s", fontsize=8)
    figure.tight_layout()
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=130, metadata={"Software": None})
    plt.close(figure)


def _bars(panel: Axes, per_s: dict[str, float]) -> None:
    """The greatest on top."""
    order = sorted(per_s, key=lambda peer: per_s[peer])
    rates = [per_s[peer] for peer in order]
    colours = [OUR_COLOUR if peer == ATTENDANT.name else THEIR_COLOUR for peer in order]
    bars = panel.barh(order, rates, color=colours)
    panel.bar_label(bars, [f" {number(rate)}" for rate in rates], fontsize=6)
    panel.tick_params(labelsize=6)
    panel.margins(x=0.18)
    panel.spines[["top", "right"]].set_visible(False)
