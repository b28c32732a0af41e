"""graph, ranges of what its matrices multiply → those of the matrices that int8 may round.

Some matrices cost more than all others: those of the first layer, whose rounding the layers behind
it amplify, and those whose activations have a few values far out. No figure of the matrix alone
tells which. So each is rounded alone, on the runtime that will run it, and what changes the outputs
most stays in bfloat16.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from export.publish import external
from export.static_int8 import Ranges, quantize
from service.contract import Arrays
from service.providers import installed
from service.session import bound, session_on

TOLERATED = 0.045
"""By how much all matrices in int8 may change the outputs, in parts of their root mean square. All
of Whisper base's encoder, 0.096, cost 0.9 points of word error rate; 0.045 of it cost 0.2."""


def _error(found: Sequence[Arrays], exact: Sequence[Arrays]) -> float:
    """Squared, in parts of the mean square, in the mean of all outputs."""
    return float(
        np.mean(
            [
                np.square(run[name] - array, dtype=np.float64).sum()
                / np.square(array, dtype=np.float64).sum()
                for run, wanted in zip(found, exact, strict=True)
                for name, array in wanted.items()
            ]
        )
    )


def tolerable(
    graph: Path,
    weights: Mapping[str, NDArray[Any]],
    ranges: Ranges,
    inputs: Sequence[Arrays],
) -> Ranges:
    """Those ranges without the ones that would change the outputs for these inputs too much.

    All of them where OpenVINO is not installed.
    """
    if not (inputs and installed("openvino")):
        return ranges
    cores = os.cpu_count() or 1

    def outputs(rounded: Ranges) -> list[Arrays]:
        proto = onnx.load(graph, load_external_data=False)
        proto, taken = quantize(proto, weights, rounded)
        with TemporaryDirectory() as there:
            onnx.save(proto, file := Path(there) / graph.name)
            given = bound(taken, external(proto))
            session = session_on("openvino", file, given, threads=cores, precision="bfloat16")
        return [session.run(each)() for each in inputs]

    reference = session_on("cpu", graph, weights, threads=cores, precision="float32")
    exact = [reference.run(each)() for each in inputs]
    unrounded = _error(outputs({}), exact)
    costs = {
        name: max(0.0, _error(outputs({name: each}), exact) - unrounded)
        for name, each in ranges.items()
    }
    kept, total = {}, 0.0
    for name in sorted(costs, key=lambda name: costs[name]):
        total += costs[name]
        if total > TOLERATED**2:
            break
        kept[name] = ranges[name]
    return kept
