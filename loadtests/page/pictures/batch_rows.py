"""a run → how full the server's batches and decoding steps were."""

from loadtests.page.style import COLOURS, Picture, legend, panels
from loadtests.results import BatchRows, Run

TITLE = "Batch rows"
ABOUT = (
    "Requests that were computed together, from the server's own histograms: items of a batch, "
    "rows of a decoding step. Few rows under much load mean that batching does not come about."
)


def shares(batches: BatchRows) -> dict[float, float]:
    """Upper bound of a bucket → its share of all batches."""
    total = sum(batches.up_to.values()) or 1
    return {float(bound): count / total for bound, count in batches.up_to.items()}


def draw(name: str, run: Run, *, void: bool) -> Picture | None:
    """None where the server told nothing of its batches."""
    known = [each for each in run.batches if each.count]
    bounds = sorted({b for each in known for b, share in shares(each).items() if share})
    if not known:
        return None
    width = 0.8 / len(known)
    with panels(height=3.2 + 0.2 * len(known)) as (figure, [axes]):
        for number, each in enumerate(known):
            found = shares(each)
            axes.bar(
                [place + width * (number - (len(known) - 1) / 2) for place in range(len(bounds))],
                [100 * found.get(bound, 0.0) for bound in bounds],
                width=width,
                color=COLOURS[number % len(COLOURS)],
                label=f"{each.task} {each.kind}: {each.rows / each.count:.2f} on average",
            )
        axes.set_xticks(
            range(len(bounds)), ["more" if b == float("inf") else f"≤ {b:g}" for b in bounds]
        )
        axes.set(xlabel="rows", ylabel="% of batches")
        axes.grid(visible=False, axis="x")
        legend(figure, axes, columns=1)
        return Picture(name, TITLE, ABOUT, figure, void=void)
