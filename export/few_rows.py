"""int8 graph → the same for batches of a few rows, whose products read their matrix by blocks.

Of a product with few rows the time is that of reading the matrix. ONNX Runtime's MatMulNBits does
this on all cores, DynamicQuantizeMatMul only from some size on; with more rows the latter wins, as
it multiplies in tiles. Both have the same integers and scales: nothing is stored twice.
"""

from collections.abc import Mapping
from typing import Any

import onnx
from numpy.typing import NDArray
from onnx import helper

from export.quantize import declare
from service.int8 import BLOCKS, INT8, SCALE, TRANSPOSED

MOST_ROWS = 4
"""From 8 rows on tiles are faster (512 x 2,048 and 512 x 58,101, two cores with AMX)."""
BLOCK_SIZES = (128, 64, 32)
"""What the operator knows; larger ones have fewer scales to read."""
BITS = 8
QUANTIZED_ACTIVATIONS = 4
"""The operator's `accuracy_level` for products of integers."""


def for_few_rows(
    proto: onnx.ModelProto, weights: Mapping[str, NDArray[Any]]
) -> onnx.ModelProto | None:
    """The other graph, or None if no product can be written so; `weights` are as stored."""
    out = onnx.ModelProto()
    out.CopyFrom(proto)
    made: dict[str, tuple[int, list[int]]] = {}
    for index, node in enumerate(proto.graph.node):
        if node.op_type != "DynamicQuantizeMatMul":
            continue
        name = node.input[1].removesuffix(INT8 + TRANSPOSED)
        wide, deep = weights[name + INT8].shape
        size = next((size for size in BLOCK_SIZES if deep % size == 0), None)
        if size is None:
            continue
        matrix, scale = f"{name}{INT8}{BLOCKS}{size}", f"{name}{SCALE}{BLOCKS}{size}"
        made[matrix] = (onnx.TensorProto.UINT8, [wide, deep // size, size])
        made[scale] = (onnx.TensorProto.FLOAT, [wide, deep // size])
        bias = [node.input[4]] if len(node.input) > 4 else []
        out.graph.node[index].CopyFrom(
            helper.make_node(
                "MatMulNBits",
                [node.input[0], matrix, scale, *(["", "", *bias] if bias and bias[0] else [])],
                list(node.output),
                name=node.name,
                domain="com.microsoft",
                K=deep,
                N=wide,
                bits=BITS,
                block_size=size,
                accuracy_level=QUANTIZED_ACTIVATIONS,
            )
        )
    if not made:
        return None
    read = {name for node in out.graph.node for name in node.input}
    kept = [each for each in proto.graph.initializer if each.name in read]
    del out.graph.initializer[:]
    out.graph.initializer.extend(kept)
    declare(out.graph, made)
    return out
