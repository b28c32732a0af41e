"""attention → MatMul, Softmax, MatMul: the pattern that a runtime with a compiler fuses itself."""

import math

from export.lower import BOOL, SOFTMAX, Lowering, Value, op, scores_bias
from export.standard_attention import join, look, write


def _weigh(query: Value, key: Value, value: Value, *, scale: float, bias: Value | None) -> Value:
    """softmax(Q K^T · scale + bias) V (Vaswani et al. 2017, equation 1)."""
    scaled = op.Mul(query, op.Constant(value_float=scale))
    scores = op.MatMul(scaled, op.Transpose(key, perm=[0, 1, 3, 2]))
    if bias is not None:
        scores = op.Add(scores, bias)
    return op.MatMul(op.Softmax(scores, axis=-1), value)


def _usual_scale(heads: Value) -> float:
    return 1 / math.sqrt(int(heads.shape[3]))


def _attend(
    query: Value,
    key: Value,
    value: Value,
    *,
    mask: Value | None,
    causal: bool,
    scale: float | None,
) -> Value:
    """scaled_dot_product_attention over a whole sequence."""
    bias = None if mask is None else scores_bias(mask, query)
    if causal:
        positions = op.Shape(query, start=2, end=3)
        ones = op.Expand(op.Constant(value_float=1.0), op.Concat(positions, positions, axis=0))
        seen = scores_bias(op.Cast(op.Trilu(ones, upper=0), to=BOOL), query)
        bias = seen if bias is None else op.Add(seen, bias)
    scale = _usual_scale(query) if scale is None else scale
    return _weigh(query, key, value, scale=scale, bias=bias)


def _attend_cached(
    query_key_value: Value,
    past_key: Value,
    past_value: Value,
    past_lengths: Value,
    bias: Value | None = None,
) -> tuple[Value, Value, Value]:
    """The same over a cache, which is copied where the new key and value are written."""
    query, key, value, keep = write(query_key_value, past_key, past_value, past_lengths)
    seen = scores_bias(keep, past_key)
    added = seen if bias is None else op.Add(seen, bias)
    out = _weigh(query, key, value, scale=_usual_scale(past_key), bias=added)
    return join(out), key, value


def _attend_memory(
    query: Value, key: Value, value: Value, lengths: Value
) -> tuple[Value, Value, Value]:
    """The same over the keys that count."""
    split, keep = look(query, key, lengths)
    out = _weigh(split, key, value, scale=_usual_scale(key), bias=scores_bias(keep, key))
    return join(out), op.Identity(key), op.Identity(value)


LOWERING = Lowering(
    attend=_attend,
    attend_op=SOFTMAX,
    attend_cached=_attend_cached,
    attend_memory=_attend_memory,
    attend_step_op=SOFTMAX,
)
