"""two deployments → the same load on both in turns, block by block, to tell them apart.

What a machine does besides changes from minute to minute, so neither is measured as a whole before
the other: each pair of blocks is close in time, and chance decides which comes first.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from random import Random

from loadtests.lab.run import Prepared, Way, measure
from loadtests.lab.runner import INTERRUPTED
from loadtests.lab.soundness import lag
from loadtests.peers.machine import machine
from loadtests.results import Block, Comparison, Terms
from loadtests.verdict.differences import pairs_needed

CLAIM = 0.5
"""A block claims little: what is claimed is claimed of all of them together."""
WARM_S = 2.0
"""Load on each side before the first block, which is not counted."""
FIGURES = 5
"""At most, of each task and door: three percentiles, the share answered, answered per second."""


def compared(
    a: Prepared, b: Prepared, way: Way, *, pairs: int, told: Callable[[str], None]
) -> Comparison:
    """Measure so many pairs of blocks. Ends early, and void, at Ctrl-C."""
    # The same requests at the same moments, whatever either of them lacks.
    common = [name for name in a.weights if name in b.weights]
    sides = {"a": a.only(*common), "b": b.only(*common)}
    block = replace(way, percentile=CLAIM)
    comparison = Comparison(
        began=datetime.now(UTC).isoformat(timespec="seconds"),
        terms=Terms(
            scenario=way.scenario,
            mix=sides["a"].weights,
            payloads=a.payloads.described,
            seed=a.target.seed,
            duration_s=way.duration_s,
            percentile=CLAIM,
            workers=way.generators,
        ),
        machine=machine(),
        a=a.server,
        b=b.server,
        pairs=pairs,
    )
    only = set(a.weights) ^ set(b.weights)
    comparison.void += [f"only one of the two answers {name}" for name in sorted(only)]
    order = Random(a.target.seed)
    for warmed in sides.values():
        measure(warmed, replace(block, duration_s=WARM_S))
    for pair in range(pairs):
        for side in order.sample(("a", "b"), 2):
            # Each pair has a load of its own, so that what is found holds for more than one.
            seeded = replace(
                sides[side], target=replace(sides[side].target, seed=a.target.seed + pair)
            )
            run = measure(seeded, block)
            comparison.terms.arguments = run.terms.arguments
            late = lag(run.send_lag, run.cells())
            measured = Block(
                pair=pair,
                side="a" if side == "a" else "b",
                duration_s=run.duration_s,
                cells=run.cells(),
                late=late,
            )
            comparison.blocks.append(measured)
            comparison.void += [
                f"pair {pair + 1}, {side.upper()}: {reason}"
                for reason in run.void
                if reason != late
            ]
            if INTERRUPTED in run.void:
                return comparison
        told(f"pair {pair + 1} of {pairs}")
    return comparison


def fewest(a: Prepared, b: Prepared) -> int:
    """The pairs without which the figures of all tasks and doors cannot be told from noise."""
    return pairs_needed(FIGURES * len(set(a.weights) & set(b.weights)))
