"""`python -m loadtests.peers.growth`: a translation model → its time as work grows, and any cliffs.

Time against the batch, the source and the target, up to the limits of the service. Sizes take
turns, as the machine drifts. A cliff is a step where time grows by more than twice what work does.
"""

from itertools import pairwise
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Annotated

import matplotlib as mpl
import numpy as np
import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

mpl.use("Agg")
from matplotlib import pyplot as plt

from loadtests.peers.engines.attendant import greedy
from loadtests.peers.lowered import opened
from service.manifest import SHIPPED
from service.session import Runner

USUAL = {"batch": 4, "source": 25, "target": 32}
"""What the other two are while one grows; tokens but for the batch."""
SIZES = {
    "batch": (1, 2, 3, 4, 5, 6, 8, 12, 16, 24, 32, 48, 64),
    "source": (4, 8, 16, 24, 32, 33, 48, 64, 65, 96, 128, 129, 160, 200),
    "target": (4, 8, 16, 24, 32, 33, 48, 64, 65, 96, 128, 129, 160, 200),
}
CLIFF = 2.0
Times = dict[str, dict[int, float]]


def run_s(model: Runner, *, batch: int, source: int, target: int) -> float:
    """The time of one batch of random tokens."""
    rng = np.random.default_rng(batch)
    inputs = {
        "source": rng.integers(10, 1_000, (batch, source)),
        "source_lengths": np.full(batch, source),
    }
    start_s = perf_counter()
    greedy(model, inputs, {"start": 4, "end": 1, "new_tokens": target})
    return perf_counter() - start_s


def times_ms(model: Runner, *, rounds: int) -> Times:
    """Medians by what grows and how far."""
    cases = [(axis, size) for axis, sizes in SIZES.items() for size in sizes]
    seconds: dict[tuple[str, int], list[float]] = {case: [] for case in cases}
    for turn in track(range(rounds + 1), "growing"):
        for axis, size in cases:
            took = run_s(model, **(USUAL | {axis: size}))
            if turn:  # the first is for warmth
                seconds[axis, size].append(took)
    return {
        axis: {size: round(median(seconds[axis, size]) * 1e3, 2) for size in sizes}
        for axis, sizes in SIZES.items()
    }


def cliffs(times: Times) -> list[str]:
    """Where a step of the work costs more than twice its share."""
    found = []
    for axis, by_size in times.items():
        for (small, before), (large, after) in pairwise(by_size.items()):
            if after / before > CLIFF * large / small:
                found.append(f"{axis} {small} to {large}: {before:.1f} to {after:.1f} ms")
    return found


def draw(times: Times, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    figure, panels = plt.subplots(1, len(times), figsize=(3.6 * len(times), 3.2))
    for panel, (axis, by_size) in zip(panels, times.items(), strict=True):
        panel.plot(list(by_size), list(by_size.values()), "o-", color="#d1495b", ms=3)
        panel.set(xlabel=axis if axis == "batch" else f"{axis}, tokens", ylabel="ms", ylim=0)
        panel.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(file, dpi=130, metadata={"Software": None})
    plt.close(figure)


def main(
    model: Annotated[Path, typer.Option(help="A translation model folder.")] = SHIPPED
    / "translation",
    threads: Annotated[int, typer.Option(min=1)] = 2,
    rounds: Annotated[int, typer.Option(min=1)] = 5,
    docs: Annotated[Path, typer.Option(help="Where the page and the plot go.")] = Path("docs"),
) -> None:
    """Measure, draw docs/benchmarks/growth.png and write docs/growth.md."""
    times = times_ms(opened(model, threads=threads), rounds=rounds)
    draw(times, docs / "benchmarks" / "growth.png")
    steep = cliffs(times)
    lines = [
        "# Time as work grows",
        "",
        "Written by `make bench-growth`; not edited by hand. One batch of the translation model,",
        f"encoder and greedy decoding, {threads} threads, medians of {rounds}; what does not grow",
        f"stays at {USUAL['batch']} rows, {USUAL['source']} tokens in, {USUAL['target']} out.",
        "",
        "![time as work grows](benchmarks/growth.png)",
        "",
        f"Steps that cost more than twice their share: {'; '.join(steep) or 'none'}.",
    ]
    for axis, by_size in times.items():
        lines += ["", f"| {axis} | {' | '.join(map(str, by_size))} |", "|---" * (len(by_size) + 1)]
        lines[-1] += "|"
        lines.append(f"| ms | {' | '.join(f'{ms:.1f}' for ms in by_size.values())} |")
    (docs / "growth.md").write_text("\n".join(lines) + "\n")
    table = Table("grows", "from", "to", "ms", "to ms")
    for axis, by_size in times.items():
        (small, first), *_, (large, last) = by_size.items()
        table.add_row(axis, str(small), str(large), f"{first:.1f}", f"{last:.1f}")
    Console().print(table)


if __name__ == "__main__":
    typer.run(main)
