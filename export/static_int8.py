"""lowered graph for OpenVINO → its products in int8, with ranges of the activations fixed before.

OpenVINO has no product of integers whose activations are rounded row by row, as those of
`export/quantize.py` are. So each product has one range for all, taken from samples. A few channels
of a Transformer's activations are far larger than the others and would leave those a handful of
steps: channels are divided before they are rounded, and the matrix multiplied with the same, so
that both share the difficulty (SmoothQuant, Xiao et al. 2023, equation 4, with alpha = 0.5).
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from jaxtyping import Float32
from numpy import ndarray
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from export.quantize import Quantized, Weights
from service.int8 import INT8, INT8_MAX, SCALE

Ranges = Mapping[str, Float32[ndarray, "2 channels"]]
"""Matrix → the least and the largest that its channels in are multiplied with."""
SMOOTHED, DIVISOR = ".smoothed", ".divisor"
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
