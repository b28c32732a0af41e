"""lowered graph and its weights → the same with int8 matrices, one scale per output channel.

Products with a constant matrix become DynamicQuantizeMatMul: the runtime finds the range of the
activations of each batch, the matrix is int8 for good. A table that is looked up is looked up in
int8. A matrix that is both, as a tied embedding is, is stored once. Kernels of convolutions are
int8 in the file only, as the runtime has no such operator for floats.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from service.int8 import INT8, SCALE, TRANSPOSED, WIDENED, rounded
from service.manifest import WEIGHTS

LEAST_ELEMENTS = 16_384
"""Smaller matrices stay as they are: nothing is won, and a classifier's last layer is small."""

Weights = dict[str, NDArray[Any]]


def declare(graph: onnx.GraphProto, made: Mapping[str, tuple[int, list[int]]]) -> None:
    """Add initializers, by dtype and shape, that the graph takes from the weights file."""
    for name, (dtype, shape) in made.items():
        initializer = graph.initializer.add(name=name, data_type=dtype, dims=shape)
        initializer.data_location = onnx.TensorProto.EXTERNAL
        initializer.external_data.add(key="location", value=WEIGHTS)


def quantize(
    proto: onnx.ModelProto, weights: Mapping[str, NDArray[Any]]
) -> tuple[onnx.ModelProto, Weights]:
    """The quantized graph, and all the weights that it takes."""
    graph = _Graph(proto, weights)
    for node in list(graph.nodes):
        if node.op_type == "MatMul":
            graph.multiply(node)
        elif node.op_type == "Gemm":
            graph.multiply_and_add(node)
        elif node.op_type == "Gather":
            graph.look_up(node)
        elif node.op_type == "Conv":
            graph.convolve(node)
    return graph.finished()


class _Graph:
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

    def _matrix(self, name: str, *, axes: Sequence[int] = (2,)) -> str | None:
        """Store a matrix as int8 if it is one worth it; returns its name."""
        array = self.weights.get(name)
        if array is None or array.ndim not in axes or array.size < LEAST_ELEMENTS:
            return None
        if f"{name}{INT8}" not in self.stored:
            int8, scale = rounded(array)
            self.stored |= {f"{name}{INT8}": int8, f"{name}{SCALE}": scale}
        self.made[f"{name}{SCALE}"] = (onnx.TensorProto.FLOAT, [len(array)])
        return name

    def _users(self, value: str) -> list[onnx.NodeProto]:
        return [node for node in self.nodes if value in node.input]

    def multiply(self, node: onnx.NodeProto) -> None:
        """MatMul with a transposed matrix, and the Add of its bias → one node."""
        transpose = next((n for n in self.nodes if node.input[1] in n.output), None)
        if transpose is None or transpose.op_type != "Transpose":
            return
        name = self._matrix(transpose.input[0])
        if name is None:
            return
        wide = len(self.weights[name])
        output, bias = node.output[0], ""
        users = self._users(output)
        if len(users) == 1 and users[0].op_type == "Add":
            (other,) = [each for each in users[0].input if each != output] or [""]
            if self.shapes.get(other) == (wide,):
                output, bias = users[0].output[0], other
                self.nodes.remove(users[0])
        self.nodes[self.nodes.index(node)] = self._product(node, name, bias, output)
        if not self._users(transpose.output[0]):
            self.nodes.remove(transpose)

    def multiply_and_add(self, node: onnx.NodeProto) -> None:
        """Gemm of rows with a matrix of [channels out, channels in] → one node."""
        given = {each.name: helper.get_attribute_value(each) for each in node.attribute}
        plain = {"alpha": 1.0, "beta": 1.0, "transA": 0, "transB": 0}
        if plain | given != plain | {"transB": 1}:
            return
        name = self._matrix(node.input[1])
        if name is not None:
            bias = node.input[2] if len(node.input) > 2 else ""
            self.nodes[self.nodes.index(node)] = self._product(node, name, bias, node.output[0])

    def _product(self, node: onnx.NodeProto, name: str, bias: str, output: str) -> onnx.NodeProto:
        """What takes the place of a product with the matrix `name`, and of the bias added to it."""
        self.made[f"{name}{INT8}{TRANSPOSED}"] = (
            onnx.TensorProto.INT8,
            list(self.weights[name].shape[::-1]),
        )
        inputs = [node.input[0], f"{name}{INT8}{TRANSPOSED}", f"{name}{SCALE}", "", bias]
        return helper.make_node(
            "DynamicQuantizeMatMul", inputs, [output], name=node.name, domain="com.microsoft"
        )

    def look_up(self, node: onnx.NodeProto) -> None:
        """Gather of float rows → of int8 rows and their scales."""
        name = self._matrix(node.input[0])
        if name is None:
            return
        self.made[f"{name}{INT8}"] = (onnx.TensorProto.INT8, list(self.weights[name].shape))
        ids, out = node.input[1], node.output[0]
        here = self.nodes.index(node)
        self.nodes[here : here + 1] = [
            helper.make_node("Gather", [f"{name}{INT8}", ids], [f"{out}.int8"]),
            helper.make_node("Cast", [f"{out}.int8"], [f"{out}.rows"], to=onnx.TensorProto.FLOAT),
            helper.make_node("Gather", [f"{name}{SCALE}", ids], [f"{out}.scale"]),
            helper.make_node("Unsqueeze", [f"{out}.scale", "last_axis"], [f"{out}.scales"]),
            helper.make_node("Mul", [f"{out}.rows", f"{out}.scales"], [out]),
        ]

    def convolve(self, node: onnx.NodeProto) -> None:
        """Conv → the same with a kernel that is stored as int8: it computes in floats as before."""
        name = self._matrix(node.input[1], axes=(3, 4))
        if name is not None:
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
        if "last_axis" in read:
            graph.initializer.append(onnx.numpy_helper.from_array(np.array([-1]), "last_axis"))
        if not any(each.domain == "com.microsoft" for each in self.proto.opset_import):
            self.proto.opset_import.append(helper.make_opsetid("com.microsoft", 1))
        floats = {name: array for name, array in self.weights.items() if name in read}
        return self.proto, floats | self.stored
