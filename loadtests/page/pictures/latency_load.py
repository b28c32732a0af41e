"""rates that were tried → latency against offered load, with the knee and the bound marked."""

from collections.abc import Sequence
from dataclasses import dataclass

from loadtests.histogram import Histogram
from loadtests.page.style import BAD, COLOURS, INK, Picture, legend, logarithmic, number, panels
from loadtests.results import Cell, Phase, Run, Searched

TITLE = "Latency against offered load"
ABOUT = (
    "Each point is one offered rate. The knee is where rate divided by mean latency is highest "
    "(Kleinrock's power): beyond it, more load buys mostly waiting. Crosses did not hold the bound."
)


@dataclass(frozen=True)
class Point:
    """One offered rate."""

    rate_per_s: float
    times: Histogram
    held: bool


def all_times(cells: Sequence[Cell]) -> Histogram:
    """The latencies of all cells together."""
    total = Histogram()
    for cell in cells:
        total.add(cell.latency)
    return total


def of_search(found: Searched) -> list[Point]:
    """The trials that measured something."""
    return [
        Point(trial.rate_per_s, times, trial.held)
        for trial in found.trials
        if (times := all_times(trial.run.cells())).count
    ]


def _kept_up(phase: Phase) -> bool:
    due, answered = (
        sum(getattr(cell, name) for cell in phase.cells) for name in ("due", "answered")
    )
    return bool(answered >= 0.99 * due)


def of_steps(run: Run) -> list[Point]:
    """The phases of a scenario with several rates; a step holds if it answers what it is asked."""
    return [
        Point(phase.rate_per_s, times, _kept_up(phase))
        for phase in run.phases
        if phase.rate_per_s and (times := all_times(phase.cells)).count
    ]


def knee(points: Sequence[Point]) -> Point:
    """The rate that buys most for its latency."""
    return max(points, key=lambda each: each.rate_per_s / each.times.mean_ms)


def draw(
    name: str, points: Sequence[Point], *, bound_ms: float | None, void: bool
) -> Picture | None:
    """None where fewer than two rates were tried: one is no curve."""
    order = sorted(points, key=lambda each: each.rate_per_s)
    if len({each.rate_per_s for each in order}) < 2:
        return None
    with panels() as (figure, [axes]):
        rates = [each.rate_per_s for each in order]
        for ratio, colour in ((0.50, COLOURS[0]), (0.95, COLOURS[2]), (0.99, COLOURS[1])):
            heights = [each.times.percentile_ms(ratio) for each in order]
            axes.plot(rates, heights, color=colour, marker="o", ms=3.5, label=f"p{ratio * 100:.0f}")
        lost = [each for each in order if not each.held]
        axes.plot(
            [each.rate_per_s for each in lost],
            [each.times.percentile_ms(0.99) for each in lost],
            "x", color=BAD, ms=8, mew=2, label="did not hold",
        )  # fmt: skip
        best = knee(order)
        axes.axvline(best.rate_per_s, color=INK, lw=1, ls=":")
        axes.annotate(
            f"knee {number(best.rate_per_s)}/s", (best.rate_per_s, 1), (3, -3), color=INK,
            xycoords=("data", "axes fraction"), textcoords="offset points", va="top", rotation=90,
        )  # fmt: skip
        if bound_ms:
            axes.axhline(bound_ms, color=BAD, lw=1, ls="--", label=f"bound {bound_ms:,g} ms")
        axes.set(yscale="log", xlabel="offered requests per second", ylabel="latency, ms")
        axes.set_xlim(left=0)
        logarithmic(axes.yaxis)
        legend(figure, axes, columns=3)
        return Picture(name, TITLE, ABOUT, figure, void=void)
