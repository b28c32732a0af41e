"""lowered graph for OpenVINO → its products in int8, with ranges of the activations fixed before.

OpenVINO has no product of integers whose activations are rounded row by row, as those of
`export/quantize.py` are. So each product has one range for all, taken from samples. A few channels
of a Transformer's activations are far larger than the others and would leave those a handful of
steps: channels are divided before they are rounded, and the matrix multiplied with the same, so
that both share the difficulty (SmoothQuant, Xiao et al. 2023, equation 4, with alpha = 0.5).
"""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
from jaxtyping import Float32
from numpy import ndarray
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from export.quantize import Quantized, Weights
from service import manifest as manifests
from service.contract import Arrays, Tensor
from service.explanation import GRAPHS as EXPLAINING
from service.int8 import INT8, INT8_MAX, SCALE
from service.manifest import WEIGHTS
from service.session import Runner, Session, bound, read_weights, session_on

Ranges = Mapping[str, Float32[ndarray, "2 channels"]]
"""Matrix → the least and the largest that its channels in are multiplied with."""
SMOOTHED, DIVISOR, OBSERVED = ".smoothed", ".divisor", ".observed"
LEVELS = 255
LEAST_SHARE = 1e-4
"""Of the largest channel: what is below is taken for this, so that no quotient is out of range."""


def quantize(
    proto: onnx.ModelProto, weights: Mapping[str, NDArray[Any]], ranges: Ranges
) -> tuple[onnx.ModelProto, Weights]:
    """The quantized graph, and all the weights that it takes; what has no range stays as it is."""
    return _Static(proto, weights, ranges).made_of_all()


def _floored(largest: Float32[ndarray, " channels"]) -> Float32[ndarray, " channels"]:
    """What channels reach; those that reach next to nothing, as if it were a little."""
    floor = LEAST_SHARE * float(largest.max()) or 1.0
    reached: Float32[ndarray, " channels"] = np.maximum(largest, np.float32(floor))
    return reached


class _Static(Quantized):
    def __init__(
        self, proto: onnx.ModelProto, weights: Mapping[str, NDArray[Any]], ranges: Ranges
    ) -> None:
        super().__init__(proto, weights)
        self.ranges = ranges
        for node in [node for node in self.nodes if node.op_type == "QuantizeLinear"]:
            self._replace(node, self._handed_on(node))

    def _handed_on(self, node: onnx.NodeProto) -> list[onnx.NodeProto]:
        """Keys and values that leave the graph: OpenVINO, which makes signed integers unsigned in
        graphs that have other products of integers, leaves what is cast as it is."""
        (rows, *_), (out,) = node.input, node.output
        for limit in (-INT8_MAX - 1, INT8_MAX):
            array = np.array(limit, np.float32)
            self.proto.graph.initializer.append(numpy_helper.from_array(array, f"{out}.{limit}"))
        clipped = [f"{out}.round", f"{out}.{-INT8_MAX - 1}", f"{out}.{INT8_MAX}"]
        return [
            helper.make_node("Round", [rows], [clipped[0]]),
            helper.make_node("Clip", clipped, [f"{out}.clipped"]),
            helper.make_node("Cast", [f"{out}.clipped"], [out], to=onnx.TensorProto.INT8),
        ]

    def multiplies(self, name: str) -> bool:
        return self.worth(name) and name in self.ranges

    def product(
        self, node: onnx.NodeProto, name: str, bias: str, output: str
    ) -> list[onnx.NodeProto]:
        matrix, (least, largest) = self.weights[name], self.ranges[name]
        divisor = np.sqrt(
            _floored(np.maximum(-least, largest)) / _floored(np.abs(matrix).max(axis=0))
        )
        low, high = min(0.0, (least / divisor).min()), max(0.0, (largest / divisor).max())
        step = max(high - low, float(np.finfo(np.float32).tiny)) / LEVELS
        constants: dict[str, NDArray[Any]] = {
            f"{output}.step": np.array(step, np.float32),
            f"{output}.zero": np.array(round(-low / step), np.uint8),
        }
        for constant, array in constants.items():
            self.proto.graph.initializer.append(numpy_helper.from_array(array, constant))
        smoothed, inverse = f"{name}{SMOOTHED}", f"{name}{DIVISOR}"
        self.store(smoothed, matrix * divisor)
        self.made[f"{smoothed}{INT8}"] = (onnx.TensorProto.INT8, list(matrix.shape))
        self.stored[inverse] = (1 / divisor).astype(np.float32)
        self.made[inverse] = (onnx.TensorProto.FLOAT, list(divisor.shape))
        make, scale = helper.make_node, f"{smoothed}{SCALE}"
        whole = f"{output}.whole" if bias else output
        nodes = [
            make("Mul", [node.input[0], inverse], [f"{output}.even"]),
            make("QuantizeLinear", [f"{output}.even", *constants], [f"{output}.int8"]),
            make("DequantizeLinear", [f"{output}.int8", *constants], [f"{output}.rows"]),
            make("DequantizeLinear", [f"{smoothed}{INT8}", scale], [f"{output}.channels"], axis=0),
            make("Transpose", [f"{output}.channels"], [f"{output}.matrix"], perm=[1, 0]),
            make("MatMul", [f"{output}.rows", f"{output}.matrix"], [whole], name=node.name),
        ]
        if bias:
            nodes.append(make("Add", [whole, bias], [output]))
        return nodes


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
        self.ranges: dict[str, NDArray[np.float32]] = {}

    def tensors(self, graph: str) -> dict[str, Tensor]:
        return self.runner.tensors(graph)

    def run(self, graph: str, inputs: Arrays) -> dict[str, NDArray[Any]]:
        if graph not in self.sessions:
            return self.runner.run(graph, inputs)
        session, matrices = self.sessions[graph]
        outputs = session.run(inputs)()
        for name in matrices:
            least, largest = outputs.pop(f"{name}{OBSERVED}")
            known = self.ranges.get(name, (least, largest))
            both = np.minimum(known[0], least), np.maximum(known[1], largest)
            self.ranges[name] = np.stack(both)
        return outputs

    def bind(self, graph: str, inputs: Arrays, outputs: Arrays) -> Callable[[], None]:
        return self.runner.bind(graph, inputs, outputs)


def observe(folder: Path, model: Runner, answer: Callable[[Runner], object]) -> Ranges:
    """Have samples answered by the model of a folder; returns what its OpenVINO graphs multiply."""
    manifest, stored = manifests.read(folder), read_weights(folder / WEIGHTS)
    sessions = {}
    with TemporaryDirectory() as there:
        for name, entry in manifest.graphs.items():
            if entry.provider == "openvino" and name not in EXPLAINING:
                weights = bound(stored, entry.weights)
                proto = onnx.load(folder / entry.file, load_external_data=False)
                proto, matrices = observed(proto, weights)
                onnx.save(proto, file := Path(there) / entry.file)
                cores = os.cpu_count() or 1
                session = session_on("cpu", file, weights, threads=cores, precision="float32")
                sessions[name] = session, matrices
    observer = _Observer(model, sessions)
    if sessions:
        answer(observer)
    return observer.ranges
