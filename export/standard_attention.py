"""attention → the standard Attention of opset 23, which other runtimes know too."""

from export.lower import BOOL, INT32, MASKED, Lowering, Value, op, over_queries, scores_bias


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
    if mask is not None and mask.dtype in MASKED:
        mask = over_queries(mask, query)
    elif mask is not None:
        mask = op.Cast(over_queries(op.Cast(mask, to=INT32), query), to=BOOL)
    out, *_ = op.Attention(query, key, value, mask, is_causal=int(causal), scale=scale)
    return out


def _split(x: Value, heads: int) -> Value:
    """(batch, 1, width) → (batch, heads, 1, head_dim)."""
    return op.Reshape(x, op.Constant(value_ints=[0, heads, 1, -1]))


def _position(lengths: Value, keys: Value) -> tuple[Value, Value]:
    """Positions of the keys (1, len), and a number per row to compare them with (batch, 1)."""
    zero, one = op.Constant(value_int=0), op.Constant(value_int=1)
    length = op.Squeeze(op.Shape(keys, start=2, end=3))
    positions = op.Unsqueeze(op.Range(zero, length, one), op.Constant(value_ints=[0]))
    return positions, op.Unsqueeze(lengths, op.Constant(value_ints=[1]))


def write(
    query_key_value: Value, past_key: Value, past_value: Value, past_lengths: Value
) -> tuple[Value, Value, Value, Value]:
    """Query, caches with the new key and value at each row's position, and what counts of them."""
    heads = int(past_key.shape[1])
    parts = op.Split(query_key_value, num_outputs=3, axis=-1)
    query, key, value = (_split(part, heads) for part in parts)
    positions, past = _position(past_lengths, past_key)
    here = op.Unsqueeze(op.Equal(positions, past), op.Constant(value_ints=[1, 3]))
    keep = op.Unsqueeze(op.LessOrEqual(positions, past), op.Constant(value_ints=[1, 2]))
    return query, op.Where(here, key, past_key), op.Where(here, value, past_value), keep


def look(query: Value, key: Value, lengths: Value) -> tuple[Value, Value]:
    """Query by head, and which of the keys count."""
    positions, length = _position(lengths, key)
    keep = op.Unsqueeze(op.Less(positions, length), op.Constant(value_ints=[1, 2]))
    return _split(query, int(key.shape[1])), keep


def join(x: Value) -> Value:
    """(batch, heads, 1, head_dim) → (batch, 1, width)."""
    return op.Reshape(x, op.Constant(value_ints=[0, 1, -1]))


def _attend_cached(
    query_key_value: Value,
    past_key: Value,
    past_value: Value,
    past_lengths: Value,
    bias: Value | None = None,
) -> tuple[Value, Value, Value]:
    """attend_cached → a write by comparison of positions, and Attention of opset 23."""
    query, key, value, keep = write(query_key_value, past_key, past_value, past_lengths)
    mask = keep if bias is None else op.Add(scores_bias(keep, past_key), bias)
    out, *_ = op.Attention(query, key, value, mask)
    return join(out), key, value


def _attend_memory(
    query: Value, key: Value, value: Value, lengths: Value
) -> tuple[Value, Value, Value]:
    """attend_memory → Attention of opset 23 over the keys that count."""
    split, keep = look(query, key, lengths)
    out, *_ = op.Attention(split, key, value, keep)
    return join(out), op.Identity(key), op.Identity(value)


LOWERING = Lowering(
    attend=_attend,
    attend_op="Attention",
    attend_cached=_attend_cached,
    attend_memory=_attend_memory,
    attend_step_op="Attention",
)
