"""lowered graph with large matrices → its int8 form for batches of a few rows.

Of a product with few rows the time is that of reading the matrix. ONNX Runtime's MatMulNBits does
this on all cores by blocks; with more rows the products of `export/quantize.py` win, as they
multiply in tiles. Both have the same integers and scales: nothing is stored twice. But they round
activations in another way, so a matrix must be too large for the cores' caches to be worth it.
"""

from collections.abc import Mapping
from typing import Any

import onnx
from numpy.typing import NDArray
from onnx import helper

from export.quantize import Quantized
from service.int8 import BLOCKS, INT8, SCALE

MOST_ROWS = 4
"""From 8 rows on tiles are faster (512 x 2,048 and 512 x 58,101, two cores with AMX)."""
LEAST_BYTES = 8 << 20
"""Of the largest matrix."""
BLOCK_SIZES = (128, 64, 32)
"""What the operator knows; larger ones have fewer scales to read."""
BITS = 8
QUANTIZED_ACTIVATIONS = 4
"""The operator's `accuracy_level` for products of integers."""


def for_few_rows(
    proto: onnx.ModelProto, weights: Mapping[str, NDArray[Any]]
) -> onnx.ModelProto | None:
    """The other graph, or None if it is not worth it; `weights` are in floats."""
    graph = _FewRows(proto, weights)
    made, _ = graph.made_of_all()
    return made if graph.largest_bytes >= LEAST_BYTES else None


class _FewRows(Quantized):
    largest_bytes = 0

    def product(
        self, node: onnx.NodeProto, name: str, bias: str, output: str
    ) -> list[onnx.NodeProto]:
        wide, deep = self.weights[name].shape
        size = next((size for size in BLOCK_SIZES if deep % size == 0), None)
        if size is None:
            return super().product(node, name, bias, output)
        self.store(name, self.weights[name])
        self.largest_bytes = max(self.largest_bytes, wide * deep)
        matrix, scale = f"{name}{INT8}{BLOCKS}{size}", f"{name}{SCALE}{BLOCKS}{size}"
        self.made[matrix] = (onnx.TensorProto.UINT8, [wide, deep // size, size])
        self.made[scale] = (onnx.TensorProto.FLOAT, [wide, deep // size])
        return [
            helper.make_node(
                "MatMulNBits",
                [node.input[0], matrix, scale, *(["", "", bias] if bias else [])],
                [output],
                name=node.name,
                domain="com.microsoft",
                K=deep,
                N=wide,
                bits=BITS,
                block_size=size,
                accuracy_level=QUANTIZED_ACTIVATIONS,
            )
        ]
