"""attention → the standard Attention of opset 23, which other runtimes know too."""

from export.lower import BOOL, INT32, Lowering, Value, op, over_queries


def _attend(
    query: Value,
    key: Value,
    value: Value,
    *,
    mask: Value | None,
    causal: bool,
    scale: float | None,
) -> Value:
    """scaled_dot_product_attention → Attention of opset 23."""
    if mask is not None:
        mask = op.Cast(over_queries(op.Cast(mask, to=INT32), query), to=BOOL)
    out, *_ = op.Attention(query, key, value, mask, is_causal=int(causal), scale=scale)
    return out


def write(
    key: Value, value: Value, past_key: Value, past_value: Value, past_lengths: Value
) -> tuple[Value, Value, Value]:
    """Caches with the new key and value at each row's position, and which positions count."""
    zero, one = op.Constant(value_int=0), op.Constant(value_int=1)
    max_len = op.Squeeze(op.Shape(past_key, start=2, end=3))
    positions = op.Unsqueeze(op.Range(zero, max_len, one), op.Constant(value_ints=[0]))
    past = op.Unsqueeze(past_lengths, op.Constant(value_ints=[1]))
    here = op.Unsqueeze(op.Equal(positions, past), op.Constant(value_ints=[1, 3]))
    keep = op.Unsqueeze(op.LessOrEqual(positions, past), op.Constant(value_ints=[1, 2]))
    return op.Where(here, key, past_key), op.Where(here, value, past_value), keep


def _attend_cached(
    query: Value,
    key: Value,
    value: Value,
    past_key: Value,
    past_value: Value,
    past_lengths: Value,
) -> tuple[Value, Value, Value]:
    """attend_cached → a write by comparison of positions, and Attention of opset 23."""
    present_key, present_value, keep = write(key, value, past_key, past_value, past_lengths)
    out, *_ = op.Attention(query, present_key, present_value, keep)
    return out, present_key, present_value


LOWERING = Lowering(
    attend=_attend,
    attend_op="Attention",
    attend_cached=_attend_cached,
    attend_cached_op="Attention",
)
