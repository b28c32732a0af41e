"""lowered graph and its weights → the same with int8 matrices, one scale per output channel.

Products with a constant matrix become products of integers. The activations are rounded row by row,
each row by its own largest value: what comes of a row is the same to the last bit in any company.
One range for the whole batch, as DynamicQuantizeMatMul takes it, saves a pass over the activations
and changed 26 of 300 translations with the batch they were in.

A table that is looked up is looked up in int8. A matrix that is both, as a tied embedding is, is
stored once. Kernels of convolutions are int8 in the file only, as the runtime has no such operator
for floats.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from service.int8 import INT8, INT8_MAX, SCALE, TRANSPOSED, WIDENED, rounded
from service.manifest import WEIGHTS

LEAST_ELEMENTS = 16_384
"""Smaller matrices stay as they are: nothing is won, and a classifier's last layer is small."""

STEP, ZERO, LAST_AXIS = "int8_step", "int8_zero", "last_axis"
CONSTANTS: Mapping[str, NDArray[Any]] = {
    STEP: np.array(1 / INT8_MAX, np.float32),
    ZERO: np.array(128, np.uint8),  # the operator multiplies unsigned with signed the fastest
    LAST_AXIS: np.array([-1]),
}

Weights = dict[str, NDArray[Any]]


def declare(graph: onnx.GraphProto, made: Mapping[str, tuple[int, list[int]]]) -> None:
    """Add initializers, by dtype and shape, that the graph takes from the weights file."""
    for name, (dtype, shape) in made.items():
        initializer = graph.initializer.add(name=name, data_type=dtype, dims=shape)
        initializer.data_location = onnx.TensorProto.EXTERNAL
        initializer.external_data.add(key="location", value=WEIGHTS)


def loops(proto: onnx.ModelProto) -> bool:
    """Whether a graph holds others, which run as often as it says."""
    return any(
        attribute.type == onnx.AttributeProto.GRAPH
        for node in proto.graph.node
        for attribute in node.attribute
    )


def quantize(
    proto: onnx.ModelProto, weights: Mapping[str, NDArray[Any]]
) -> tuple[onnx.ModelProto, Weights]:
    """The quantized graph, and all the weights that it takes."""
    return Quantized(proto, weights).made_of_all()


class Quantized:
    """A graph whose nodes are being replaced."""

    def __init__(self, proto: onnx.ModelProto, weights: Mapping[str, NDArray[Any]]) -> None:
        self.proto = onnx.ModelProto()
        self.proto.CopyFrom(proto)
        self.weights = dict(weights)
        self.shapes = {each.name: tuple(each.dims) for each in proto.graph.initializer}
        self.nodes = list(self.proto.graph.node)
        self.made: dict[str, tuple[int, list[int]]] = {}
        """New initializers: dtype and shape."""
        self.stored: Weights = {}
        self.rounded: set[str] = set()
        """Activations that have been rounded: several products may take the same."""

    def made_of_all(self) -> tuple[onnx.ModelProto, Weights]:
        for node in list(self.nodes):
            if node.op_type == "MatMul":
                self.multiply(node)
            elif node.op_type == "Gemm":
                self.multiply_and_add(node)
            elif node.op_type == "Gather":
                self.look_up(node)
            elif node.op_type == "Conv":
                self.convolve(node)
        return self.finished()

    def worth(self, name: str, *, axes: Sequence[int] = (2,)) -> bool:
        """Whether this is a matrix, and large."""
        array = self.weights.get(name)
        return array is not None and array.ndim in axes and array.size >= LEAST_ELEMENTS

    def multiplies(self, name: str) -> bool:
        """Whether products with this are replaced."""
        return self.worth(name)

    def store(self, name: str, array: NDArray[Any]) -> None:
        """Store a matrix as int8."""
        if f"{name}{INT8}" not in self.stored:
            int8, scale = rounded(array)
            self.stored |= {f"{name}{INT8}": int8, f"{name}{SCALE}": scale}
        self.made[f"{name}{SCALE}"] = (onnx.TensorProto.FLOAT, [len(array)])

    def _users(self, value: str) -> list[onnx.NodeProto]:
        return [node for node in self.nodes if value in node.input]

    def multiply(self, node: onnx.NodeProto) -> None:
        """MatMul with a transposed matrix, and the Add of its bias → a product of integers."""
        transpose = next((n for n in self.nodes if node.input[1] in n.output), None)
        if transpose is None or transpose.op_type != "Transpose":
            return
        name = transpose.input[0]
        if not self.multiplies(name):
            return
        wide = len(self.weights[name])
        output, bias = node.output[0], ""
        users = self._users(output)
        if len(users) == 1 and users[0].op_type == "Add":
            (other,) = [each for each in users[0].input if each != output] or [""]
            if self.shapes.get(other) == (wide,):
                output, bias = users[0].output[0], other
                self.nodes.remove(users[0])
        self._replace(node, self.product(node, name, bias, output))
        if not self._users(transpose.output[0]):
            self.nodes.remove(transpose)

    def multiply_and_add(self, node: onnx.NodeProto) -> None:
        """Gemm of rows with a matrix of [channels out, channels in] → a product of integers."""
        given = {each.name: helper.get_attribute_value(each) for each in node.attribute}
        plain = {"alpha": 1.0, "beta": 1.0, "transA": 0, "transB": 0}
        if plain | given != plain | {"transB": 1}:
            return
        name = node.input[1]
        if self.multiplies(name):
            bias = node.input[2] if len(node.input) > 2 else ""
            self._replace(node, self.product(node, name, bias, node.output[0]))

    def _replace(self, node: onnx.NodeProto, nodes: Sequence[onnx.NodeProto]) -> None:
        here = self.nodes.index(node)
        self.nodes[here : here + 1] = nodes

    def product(
        self, node: onnx.NodeProto, name: str, bias: str, output: str
    ) -> list[onnx.NodeProto]:
        """What takes the place of a product with the matrix `name`, and of the bias added to it."""
        matrix, rows = f"{name}{INT8}{TRANSPOSED}", node.input[0]
        self.store(name, self.weights[name])
        self.made[matrix] = (onnx.TensorProto.INT8, list(self.weights[name].shape[::-1]))
        make = helper.make_node
        nodes = [] if rows in self.rounded else self._round(rows)
        summed = f"{output}.whole" if bias else output
        nodes += [
            make(
                "MatMulIntegerToFloat",
                [f"{rows}.int8", matrix, STEP, f"{name}{SCALE}", ZERO],
                [f"{output}.shares"],
                name=node.name,
                domain="com.microsoft",
            ),
            make("Mul", [f"{output}.shares", f"{rows}.largest"], [summed]),
        ]
        if bias:
            nodes.append(make("Add", [summed, bias], [output]))
        return nodes

    def _round(self, rows: str) -> list[onnx.NodeProto]:
        """Rows → their largest values, and their shares of these as integers.

        A row of zeros has no shares; whatever they are rounded to is multiplied by 0.
        """
        self.rounded.add(rows)
        make = helper.make_node
        return [
            make("Abs", [rows], [f"{rows}.sizes"]),
            make("ReduceMax", [f"{rows}.sizes", LAST_AXIS], [f"{rows}.largest"], keepdims=1),
            make("Div", [rows, f"{rows}.largest"], [f"{rows}.shares"]),
            make("QuantizeLinear", [f"{rows}.shares", STEP, ZERO], [f"{rows}.int8"]),
        ]

    def look_up(self, node: onnx.NodeProto) -> None:
        """Gather of float rows → of int8 rows and their scales."""
        name = node.input[0]
        if not self.worth(name):
            return
        self.store(name, self.weights[name])
        self.made[f"{name}{INT8}"] = (onnx.TensorProto.INT8, list(self.weights[name].shape))
        ids, out = node.input[1], node.output[0]
        here = self.nodes.index(node)
        self.nodes[here : here + 1] = [
            helper.make_node("Gather", [f"{name}{INT8}", ids], [f"{out}.int8"]),
            helper.make_node("Cast", [f"{out}.int8"], [f"{out}.rows"], to=onnx.TensorProto.FLOAT),
            helper.make_node("Gather", [f"{name}{SCALE}", ids], [f"{out}.scale"]),
            helper.make_node("Unsqueeze", [f"{out}.scale", LAST_AXIS], [f"{out}.scales"]),
            helper.make_node("Mul", [f"{out}.rows", f"{out}.scales"], [out]),
        ]

    def convolve(self, node: onnx.NodeProto) -> None:
        """Conv → the same with a kernel that is stored as int8: it computes in floats as before."""
        name = node.input[1]
        if self.worth(name, axes=(3, 4)):
            self.store(name, self.weights[name])
            node.input[1] = f"{name}{INT8}{WIDENED}"
            self.made[node.input[1]] = (onnx.TensorProto.FLOAT, list(self.weights[name].shape))

    def finished(self) -> tuple[onnx.ModelProto, Weights]:
        graph = self.proto.graph
        del graph.node[:]
        graph.node.extend(self.nodes)
        read = {name for node in self.nodes for name in node.input}
        kept = [initializer for initializer in graph.initializer if initializer.name in read]
        del graph.initializer[:]
        graph.initializer.extend(kept)
        declare(graph, {name: made for name, made in self.made.items() if name in read})
        constants = {name: array for name, array in CONSTANTS.items() if name in read}
        for name, array in constants.items():
            graph.initializer.append(onnx.numpy_helper.from_array(array, name))
        if not any(each.domain == "com.microsoft" for each in self.proto.opset_import):
            self.proto.opset_import.append(helper.make_opsetid("com.microsoft", 1))
        floats = {name: array for name, array in self.weights.items() if name in read}
        return self.proto, floats | self.stored
