"""a model of OpenVINO's graphs, a way to answer samples → ranges of what its matrices multiply.

Those that int8 would change the outputs by too much are left out: `export/sensitivity.py`.
"""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from export.quantize import Quantized, loops
from export.sensitivity import tolerable
from export.static_int8 import Ranges
from service import manifest as manifests
from service.contract import Arrays, Tensor
from service.explanation import GRAPHS as EXPLAINING
from service.manifest import WEIGHTS
from service.session import Runner, Session, bound, read_weights, session_on

OBSERVED = ".observed"
TRIED = 2
"""Runs of a graph by whose outputs it is seen what rounding changes."""


class _Products(Quantized):
    """Which activations each matrix multiplies."""

    def __init__(self, proto: onnx.ModelProto, weights: Mapping[str, NDArray[Any]]) -> None:
        super().__init__(proto, weights)
        self.multiplied: dict[str, list[str]] = {}

    def product(
        self, node: onnx.NodeProto, name: str, bias: str, output: str
    ) -> list[onnx.NodeProto]:
        del bias, output
        self.multiplied.setdefault(name, []).append(node.input[0])
        return []


def observed(
    proto: onnx.ModelProto, weights: Mapping[str, NDArray[Any]]
) -> tuple[onnx.ModelProto, list[str]]:
    """A graph that also gives the range of what each matrix multiplies, and those matrices."""
    products = _Products(proto, weights)
    products.made_of_all()
    graph, make = proto.graph, helper.make_node
    graph.initializer.append(numpy_helper.from_array(np.array([0]), "first_axis"))
    for name, activations in products.multiplied.items():
        channels, out = weights[name].shape[1], f"{name}{OBSERVED}"
        rows = numpy_helper.from_array(np.array([-1, channels]), f"{out}.shape")
        graph.initializer.append(rows)
        flat = [f"{out}.{number}" for number in range(len(activations))]
        pairs = zip(activations, flat, strict=True)
        graph.node.extend(
            [
                *(make("Reshape", [each, rows.name], [y]) for each, y in pairs),
                make("Concat", flat, [f"{out}.rows"], axis=0),
                make("ReduceMin", [f"{out}.rows", "first_axis"], [f"{out}.least"]),
                make("ReduceMax", [f"{out}.rows", "first_axis"], [f"{out}.largest"]),
                make("Concat", [f"{out}.least", f"{out}.largest"], [out], axis=0),
            ]
        )
        kind = onnx.TensorProto.FLOAT
        graph.output.append(helper.make_tensor_value_info(out, kind, [2, channels]))
    return proto, [*products.multiplied]


class _Observer:
    """A runner that notes the ranges that some of its graphs give besides."""

    def __init__(self, runner: Runner, sessions: Mapping[str, tuple[Session, list[str]]]) -> None:
        self.runner, self.sessions = runner, sessions
        self.ranges: dict[str, dict[str, NDArray[np.float32]]] = {name: {} for name in sessions}
        self.inputs: dict[str, list[Arrays]] = {name: [] for name in sessions}

    def tensors(self, graph: str) -> dict[str, Tensor]:
        return self.runner.tensors(graph)

    def run(self, graph: str, inputs: Arrays) -> dict[str, NDArray[Any]]:
        if graph not in self.sessions:
            return self.runner.run(graph, inputs)
        session, matrices = self.sessions[graph]
        if len(self.inputs[graph]) < TRIED:
            self.inputs[graph].append(inputs)
        outputs, ranges = session.run(inputs)(), self.ranges[graph]
        for name in matrices:
            least, largest = outputs.pop(f"{name}{OBSERVED}")
            known = ranges.get(name, (least, largest))
            ranges[name] = np.stack([np.minimum(known[0], least), np.maximum(known[1], largest)])
        return outputs

    def bind(self, graph: str, inputs: Arrays, outputs: Arrays) -> Callable[[], None]:
        return self.runner.bind(graph, inputs, outputs)


def observe(folder: Path, model: Runner, answer: Callable[[Runner], object]) -> Ranges:
    """Have samples answered by the model of a folder; returns what its OpenVINO graphs multiply.

    Maybe nothing: it may have no such graphs.
    """
    manifest, stored = manifests.read(folder), read_weights(folder / WEIGHTS)
    sessions, cores = {}, os.cpu_count() or 1
    with TemporaryDirectory() as there:
        for name, entry in manifest.graphs.items():
            proto = onnx.load(folder / entry.file, load_external_data=False)
            if entry.provider == "openvino" and name not in EXPLAINING and not loops(proto):
                weights = bound(stored, entry.weights)
                proto, matrices = observed(proto, weights)
                onnx.save(proto, file := Path(there) / entry.file)
                session = session_on("cpu", file, weights, threads=cores, precision="float32")
                sessions[name] = session, matrices
    observer = _Observer(model, sessions)
    answer(observer)
    found: dict[str, NDArray[np.float32]] = {}
    for name, ranges in observer.ranges.items():
        entry = manifest.graphs[name]
        weights, inputs = bound(stored, entry.weights), observer.inputs[name]
        found |= tolerable(folder / entry.file, weights, ranges, inputs)
    return found
