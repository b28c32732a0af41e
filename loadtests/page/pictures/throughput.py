"""a run's seconds → requests offered, answered and failed, and their latency, over time."""

from math import nan

from loadtests.page.style import BAD, COLOURS, INK, Picture, logarithmic, panels
from loadtests.results import Run

TITLE = "Throughput over time"
ABOUT = (
    "Above: requests in each second, offered when they were due and counted as answered when the "
    "answer came. Below: the latency of those answered in that second."
)


def draw(name: str, run: Run, *, void: bool) -> Picture | None:
    """None where nothing was taken over time."""
    if len(run.timeline) < 2:
        return None
    at = [each.at_s for each in run.timeline]
    with panels(2, height=4.4, ratios=[3, 2]) as (figure, [rates, times]):
        rates.step(at, [each.offered for each in run.timeline], color=INK, lw=1, label="offered")
        rates.step(at, [each.answered for each in run.timeline], color=COLOURS[2], label="answered")
        rates.fill_between(
            at, [each.failed for each in run.timeline], step="pre", color=BAD, label="failed"
        )
        rates.set_ylim(bottom=0)
        rates.set_ylabel("requests per s")
        for ratio, colour in (("p50", COLOURS[0]), ("p99", COLOURS[1])):
            heights = [getattr(each, f"{ratio}_ms") for each in run.timeline]
            times.plot(at, [nan if ms is None else ms for ms in heights], color=colour, label=ratio)
        for phase in run.phases[1:]:
            for axes in (rates, times):
                axes.axvline(phase.began_s, color=INK, lw=0.8, ls=":")
        times.set(yscale="log", xlabel="seconds", ylabel="latency, ms")
        logarithmic(times.yaxis)
        handles = [axes.get_legend_handles_labels() for axes in (rates, times)]
        figure.legend(
            handles[0][0] + handles[1][0],
            handles[0][1] + handles[1][1],
            loc="outside lower center",
            ncols=5,
            columnspacing=1,
            handlelength=1.4,
        )
        return Picture(name, TITLE, ABOUT, figure, void=void)
