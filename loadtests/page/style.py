"""a figure → PNG bytes on white, and an SVG that takes the colours of the page it stands in."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO, StringIO
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

INK, RULE, BAD = "#1b2631", "#c8d0d8", "#c62828"
"""Words and axes; lines of the grid; what failed. The page has its own for each in the dark."""
IN_PAGE = {INK: "currentColor", RULE: "var(--rule)", BAD: "var(--bad)"}
COLOURS = ("#3b82c4", "#e07b39", "#2a9d78", "#a46bc4", "#c9a227", "#d1567a", "#5d6d7e", "#17a2b8")
"""Middle tones, legible on white and on black."""
LINES = ("-", "--", ":", "-.")
WIDTH_INCHES, HEIGHT_INCHES = 5.0, 3.4
"""As wide as a phone, where a point is about a pixel; a larger screen shows it larger."""
ROOM = 300.0
"""An axis with a larger ratio of its ends has labels at powers of ten alone."""
FONTS = ["DejaVu Sans"]
SETTINGS: Any = {
    "font.family": FONTS,
    "font.size": 9.5,
    "axes.titlesize": 10,
    "axes.labelsize": 9.5,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "legend.fontsize": 8.5,
    "legend.frameon": False,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.grid": True,
    "grid.color": RULE,
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "lines.linewidth": 1.6,
    "svg.fonttype": "none",
    "svg.hashsalt": "attendant",
}


@contextmanager
def panels(
    rows: int = 1, *, height: float = HEIGHT_INCHES, ratios: list[float] | None = None
) -> Iterator[tuple[Figure, list[Axes]]]:
    """Axes one above the other, drawn in the style of the page and closed afterwards."""
    with mpl.rc_context(SETTINGS):
        figure, axes = plt.subplots(
            rows,
            squeeze=False,
            sharex=rows > 1,
            figsize=(WIDTH_INCHES, height),
            layout="constrained",
            height_ratios=ratios,
        )
        try:
            yield figure, list(axes[:, 0])
        finally:
            plt.close(figure)


def number(value: float) -> str:
    """Three digits, or all before the point."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def logarithmic(axis: Axis) -> None:
    """Plain numbers at each power of ten, and at 2 and 5 times it where there is room."""
    low, high = axis.get_view_interval()
    roomy = high / low < ROOM
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if roomy else (1.0,), numticks=12))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    axis.set_minor_formatter(NullFormatter())


def legend(figure: Figure, axes: Axes, *, columns: int = 2) -> None:
    """Below the axes, where it covers nothing."""
    handles, names = axes.get_legend_handles_labels()
    if handles:
        figure.legend(handles, names, loc="outside lower center", ncols=columns)


class Picture:
    """One figure, in both forms."""

    def __init__(self, name: str, title: str, about: str, figure: Figure, *, void: bool) -> None:
        """name: of its file; about: how to read it; void: written across it."""
        # The names of tasks come from a file, and a name may not lead out of the folder.
        self.name = re.sub(r"[^\w-]+", "-", name)
        self.title, self.about = title, about
        if void:
            figure.text(
                0.5, 0.55, "VOID", color=BAD, alpha=0.25, fontsize=64, weight="bold",
                rotation=20, ha="center", va="center",
            )  # fmt: skip
        with mpl.rc_context(SETTINGS):
            png, svg = BytesIO(), StringIO()
            figure.savefig(png, format="png", dpi=160, metadata={"Software": None})
            figure.savefig(svg, format="svg", transparent=True, metadata={"Date": None})
        self.png = png.getvalue()
        self.svg = _inline(svg.getvalue(), title)


def _inline(svg: str, title: str) -> str:
    """Without the XML head, as wide as its place, in colours that the page chooses."""
    drawing = svg[svg.index("<svg") :]
    drawing = re.sub(r"<metadata>.*?</metadata>", "", drawing, flags=re.DOTALL)
    drawing = re.sub(
        r'(<svg [^>]*?)width="[^"]*" height="[^"]*"|(<svg )', r"\1\2", drawing, count=1
    )
    drawing = re.sub(r' (width|height)="[\d.]+pt"', "", drawing, count=2)
    drawing = drawing.replace("<svg ", f'<svg role="img" aria-label="{title}" ', 1)
    drawing = drawing.replace("'DejaVu Sans'", "system-ui, 'DejaVu Sans'")
    for colour, variable in IN_PAGE.items():
        drawing = drawing.replace(colour, variable)
    return drawing
