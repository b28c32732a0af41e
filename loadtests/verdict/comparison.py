"""blocks of two deployments → each figure of B beside that of A, with what is only noise."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np

from loadtests.histogram import Histogram
from loadtests.results import Block, Cell, Comparison
from loadtests.validity import requests_needed
from loadtests.verdict.differences import Counts, Difference, compare
from loadtests.verdict.judge import PERCENTILES, TIMED


def _times(histograms: Sequence[Histogram]) -> tuple[Counts, Counts]:
    """Each histogram as a row of counts, and the times that the columns stand for."""
    found = [dict(each.recorded()) for each in histograms]
    times = sorted({time_ms for each in found for time_ms in each})
    rows = [[float(each.get(time_ms, 0)) for time_ms in times] for each in found]
    return np.array(rows).reshape(len(found), len(times)), np.array(times)


def _percentile(counts: Counts, *, times: Counts, ratio: float) -> Counts:
    reached = np.cumsum(counts, axis=-1)
    below = (reached < ratio * reached[..., -1:]).sum(axis=-1)
    return np.asarray(times[np.minimum(below, len(times) - 1)])


def _quotient(sums: Counts) -> Counts:
    return np.asarray(sums[..., 0] / np.maximum(sums[..., 1], np.finfo(np.float64).tiny))


def _pairs(comparison: Comparison) -> list[tuple[Block, Block]]:
    """A's and B's block of each pair that was measured whole, and not late."""
    sides = {(block.pair, block.side): block for block in comparison.blocks if not block.late}
    return [
        (block, sides[pair, "b"])
        for (pair, side), block in sorted(sides.items())
        if side == "a" and (pair, "b") in sides
    ]


def differences(comparison: Comparison) -> list[Difference]:
    """All figures; ValueError where there are too few pairs to tell them from noise."""
    pairs = _pairs(comparison)
    names = [] if not pairs else [(cell.task, cell.door) for cell in pairs[0][0].cells]
    chosen: list[Callable[..., Difference]] = []
    for name in names:
        blocks = [[_cell(block, name) for block in side] for side in zip(*pairs, strict=True)]
        seconds = [[block.duration_s for block in side] for side in zip(*pairs, strict=True)]
        chosen += _of_cell(" ".join(name), blocks, seconds, comparison)
    if not chosen:
        raise ValueError("no pair of blocks was measured")
    return [each(figures=len(chosen)) for each in chosen]


def _cell(block: Block, name: tuple[str, str]) -> Cell:
    return next(
        (cell for cell in block.cells if (cell.task, cell.door) == name),
        Cell(task=name[0], door=name[1]),
    )


def _of_cell(
    subject: str, cells: list[list[Cell]], seconds: list[list[float]], comparison: Comparison
) -> Iterator[Callable[..., Difference]]:
    """What is compared of one task on one door, once it is known how many figures there are."""
    pairs = len(cells[0])
    both = cells[0] + cells[1]
    counts, times = _times([cell.latency for cell in both])
    fewest = min(sum(cell.answered for cell in side) for side in cells)
    if comparison.terms.scenario in TIMED and fewest:
        for name, ratio in PERCENTILES.items():
            if fewest >= requests_needed(0, ratio):
                figure = partial(_percentile, times=times, ratio=ratio)
                yield partial(compare, subject, name, counts[:pairs], counts[pairs:], figure)
    shares = np.array([[float(each.answered), float(each.answered + each.failed)] for each in both])
    yield partial(
        compare, subject, "answered, share", shares[:pairs], shares[pairs:], _quotient,
        less_is_better=False,
    )  # fmt: skip
    if "rate_per_s" not in comparison.terms.arguments:
        lasted = seconds[0] + seconds[1]
        rates = np.array(
            [[float(cell.answered), took_s] for cell, took_s in zip(both, lasted, strict=True)]
        )
        yield partial(
            compare, subject, "answered per s", rates[:pairs], rates[pairs:], _quotient,
            less_is_better=False,
        )  # fmt: skip
