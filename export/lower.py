"""attention of a traced module → the attention op of a target.

A lowering is a translation table for `torch.onnx.export`: it says what the functions of
`models/attention.py` become, and the models know nothing of it.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import onnx_ir as ir
import torch
from onnxscript import opset23

import models.attention  # noqa: F401  (registers attendant::attend_cached)
from models.graph import Attentions

op: Any = opset23  # its stubs want a type for every tensor of a graph
Value = Any
"""A tensor of the graph under construction."""
INT32, INT64, BOOL = 6, 7, 9
SOFTMAX = "Softmax"
MASKED = {ir.DataType.FLOAT: -1e9, ir.DataType.FLOAT16: -6e4}
"""Added to the scores of masked keys: enough for a weight of exactly zero, and still a number."""


def weighs_values(node: ir.Node) -> bool:
    """Whether a node is the softmax of an attention: only there does it multiply a matrix."""
    uses = node.outputs[0].uses()
    return node.op_type == SOFTMAX and any(use.node.op_type == "MatMul" for use in uses)


def scores_bias(mask: Value, query: Value) -> Value:
    """True-is-keep mask → what is added to the scores of a query of this dtype.

    A mask of floats is that already.
    """
    if mask.dtype in MASKED:
        return mask
    masked = op.Constant(value_float=MASKED[query.dtype])
    bias = op.Where(mask, op.Constant(value_float=0.0), masked)
    return bias if query.dtype == ir.DataType.FLOAT else op.Cast(bias, to=query.dtype)


def over_queries(mask: Value, query: Value) -> Value:
    """A mask or bias that holds for every query → the same spelled out for each."""
    one = op.Constant(value_ints=[1])
    return op.Expand(mask, op.Concat(one, one, op.Shape(query, start=2, end=3), one, axis=0))


@dataclass(frozen=True)
class Lowering:
    """What attention becomes, and the op that each call becomes exactly once."""

    attend: Callable[..., Value]
    attend_op: str
    attend_cached: Callable[..., tuple[Value, Value, Value]]
    attend_memory: Callable[..., tuple[Value, Value, Value]]
    attend_step_op: str
    """What both of a decoding step become."""

    @property
    def table(self) -> dict[Callable[..., Any], Callable[..., Any]]:
        """The exporter's `custom_translation_table`."""

        def attend(
            query: Value,
            key: Value,
            value: Value,
            attn_mask: Value | None = None,
            dropout_p: float = 0.0,
            is_causal: bool = False,
            scale: float | None = None,
            enable_gqa: bool = False,
        ) -> Value:
            if dropout_p or enable_gqa:
                raise ValueError(
                    "attention with dropout or shared heads has no lowering: have the module drop "
                    "nothing in evaluation mode, and repeat the heads before they attend"
                )
            return self.attend(query, key, value, mask=attn_mask, causal=is_causal, scale=scale)

        return {
            torch.ops.aten.scaled_dot_product_attention.default: attend,
            torch.ops.attendant.attend_cached.default: self.attend_cached,
            torch.ops.attendant.attend_memory.default: self.attend_memory,
        }

    def expected(self, attentions: Attentions) -> Mapping[str, int]:
        """Op → how many of it a graph that attends so often must hold."""
        return +(
            Counter({self.attend_op: attentions.whole})
            + Counter({self.attend_step_op: attentions.cached})
            + Counter({SOFTMAX: attentions.additive})
        )

    def found(self, model: ir.Model) -> Mapping[str, int]:
        """Op → how many of it a lowered graph does hold, in the bodies of its loops too."""
        ops = {self.attend_op, self.attend_step_op} - {SOFTMAX}
        return Counter(
            node.op_type
            for node in model.graph.all_nodes()
            if node.op_type in ops or weighs_values(node)
        )
