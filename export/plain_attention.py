"""attention → MatMul, Softmax, MatMul: the pattern that a runtime with a compiler fuses itself."""

import math

import onnx_ir as ir

from export.lower import BOOL, Lowering, Value, op, scores_bias
from export.standard_attention import write


def _attend(
    query: Value,
    key: Value,
    value: Value,
    *,
    mask: Value | None,
    causal: bool,
    scale: float | None,
) -> Value:
    """softmax(Q K^T · scale + bias) V (Vaswani et al. 2017, equation 1)."""
    factor = op.Constant(value_float=1 / math.sqrt(int(query.shape[3])) if scale is None else scale)
    scores = op.MatMul(op.Mul(query, factor), op.Transpose(key, perm=[0, 1, 3, 2]))
    if causal:
        positions = op.Shape(query, start=2, end=3)
        square = op.Concat(positions, positions, axis=0)
        ones = op.Expand(op.Constant(value_float=1.0), square)
        seen = op.Cast(op.Trilu(ones, upper=0), to=BOOL)
        scores = op.Add(scores, scores_bias(seen, query))
    if mask is not None:
        scores = op.Add(scores, scores_bias(mask, query))
    return op.MatMul(op.Softmax(scores, axis=-1), value)


def _attend_cached(
    query: Value,
    key: Value,
    value: Value,
    past_key: Value,
    past_value: Value,
    past_lengths: Value,
) -> tuple[Value, Value, Value]:
    """The same over a cache, which is copied where the new key and value are written."""
    present_key, present_value, keep = write(key, value, past_key, past_value, past_lengths)
    out = _attend(query, present_key, present_value, mask=keep, causal=False, scale=None)
    return out, present_key, present_value


def _weighs_values(node: ir.Node) -> bool:
    """Whether a Softmax is that of attention: only there does it multiply a matrix."""
    return any(use.node.op_type == "MatMul" for use in node.outputs[0].uses())


LOWERING = Lowering(
    attend=_attend,
    attend_op="Softmax",
    attend_cached=_attend_cached,
    attend_cached_op="Softmax",
    counts=_weighs_values,
)
