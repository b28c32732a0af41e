"""a run → the share of requests answered within a time, with the tail stretched out."""

from loadtests.page.style import COLOURS, LINES, Picture, legend, logarithmic, panels
from loadtests.results import Run

TITLE = "Latency distribution"
ABOUT = (
    "How long after its due moment each request was answered. Every line of the grid upwards "
    "leaves out nine of ten that were slower, so that the tail is as wide as the rest."
)
TICKS = (0.5, 0.9, 0.99, 0.999, 0.9999)


def draw(name: str, run: Run, *, void: bool) -> Picture | None:
    """Colours are tasks, kinds of line are doors."""
    cells = [cell for cell in run.cells() if cell.latency.count]
    if not cells:
        return None
    tasks = list(dict.fromkeys(cell.task for cell in cells))
    doors = list(dict.fromkeys(cell.door for cell in cells))
    most = max(cell.latency.count for cell in cells)
    with panels(height=3.3 + 0.18 * len(cells)) as (figure, [axes]):
        for cell in cells:
            reached, times, slower = 0, [], []
            for time_ms, count in cell.latency.recorded():
                times.append(time_ms)
                slower.append(1 - reached / cell.latency.count)
                reached += count
            axes.plot(
                times,
                slower,
                drawstyle="steps-post",
                color=COLOURS[tasks.index(cell.task) % len(COLOURS)],
                ls=LINES[doors.index(cell.door) % len(LINES)],
                label=f"{cell.task} {cell.door}",
            )
        ticks = [ratio for ratio in TICKS if 1 - ratio >= 1 / most] or [0.5]
        axes.set(xscale="log", yscale="log", xlabel="latency, ms", ylabel="answered")
        axes.set_ylim(1, min(1 - ticks[-1], 1 / most) * 0.8)
        axes.set_yticks([1 - ratio for ratio in ticks], [f"{100 * ratio:g} %" for ratio in ticks])
        axes.minorticks_off()
        logarithmic(axes.xaxis)
        legend(figure, axes, columns=1 if len(cells) < 3 else 2)
        return Picture(name, TITLE, ABOUT, figure, void=void)
