"""recorded races → one bar chart each, `docs/benchmarks/WORK.png`."""

from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt

from loadtests.peers.record import Benchmarks, WorkRecord
from loadtests.peers.report import OURS, number

OUR_COLOUR, THEIR_COLOUR = "#d1495b", "#8d99ae"
BAR_INCHES, HEAD_INCHES, PANEL_INCHES = 0.27, 0.9, 3.4


def draw(benchmarks: Benchmarks, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, work in benchmarks.works.items():
        if work.raced():
            _draw(name, work, folder / f"{name}.png")


def _draw(name: str, work: WorkRecord, file: Path) -> None:
    """One panel per batch size, the fastest peer on top, whiskers from the least to the most."""
    raced = work.raced()
    height = HEAD_INCHES + BAR_INCHES * len(raced)
    figure, panels = plt.subplots(
        1, len(work.sizes), figsize=(PANEL_INCHES * len(work.sizes), height), squeeze=False
    )
    for panel, size in zip(panels[0], work.sizes, strict=True):
        order = sorted(raced, key=lambda peer: -raced[peer].median_s(size))
        middles = [work.figure(raced[peer].median_s(size), size) for peer in order]
        spreads = [
            sorted(work.figure(seconds, size) for seconds in raced[peer].seconds[size])
            for peer in order
        ]
        below = [middle - spread[0] for middle, spread in zip(middles, spreads, strict=True)]
        above = [spread[-1] - middle for middle, spread in zip(middles, spreads, strict=True)]
        colours = [OUR_COLOUR if peer.startswith(OURS) else THEIR_COLOUR for peer in order]
        panel.barh(order, middles, color=colours, xerr=(below, above), error_kw={"lw": 0.7})
        panel.bar_label(panel.containers[-1], [f" {number(m)}" for m in middles], fontsize=6)
        panel.set_title(f"batch {size}", fontsize=8)
        panel.tick_params(labelsize=6)
        panel.margins(x=0.18)
        panel.spines[["top", "right"]].set_visible(False)
    best = "less is better" if work.per_batch is None else "more is better"
    figure.suptitle(f"{name}: {work.unit}, {best}, {work.threads} threads", fontsize=9)
    figure.tight_layout()
    figure.savefig(file, dpi=130, metadata={"Software": None})
    plt.close(figure)
