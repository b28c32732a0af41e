"""attention → ONNX Runtime's fused ops: MultiHeadAttention, GroupQueryAttention over a cache."""

from collections.abc import Mapping

from onnx.defs import OpSchema
from onnxscript.values import Op, Opset

from export.lower import INT32, INT64, MASKED, Lowering, Value, op, over_queries, scores_bias


def _contrib(name: str, inputs: str, outputs: str, attributes: Mapping[str, int | float]) -> Op:
    """A com.microsoft op as a callable: the exporter needs a schema, and onnx ships none."""
    optional = OpSchema.FormalParameterOption.Optional
    schema = OpSchema(
        name,
        "com.microsoft",
        1,
        inputs=[
            OpSchema.FormalParameter(
                text.removesuffix(":i"), "I" if text.endswith(":i") else "T", param_option=optional
            )
            for text in inputs.split()
        ],
        outputs=[
            OpSchema.FormalParameter(text, "T", param_option=optional) for text in outputs.split()
        ],
        type_constraints=[
            ("T", ["tensor(float)", "tensor(float16)", "tensor(bfloat16)"], ""),
            ("I", ["tensor(int32)"], ""),
        ],
        attributes=[
            OpSchema.Attribute(
                key, OpSchema.AttrType.INT if isinstance(value, int) else OpSchema.AttrType.FLOAT
            )
            for key, value in attributes.items()
        ],
    )
    return Op(Opset("com.microsoft", 1), name, schema)


_MULTI_HEAD = _contrib(
    "MultiHeadAttention",
    "query key value bias key_padding_mask:i attention_bias",
    "output",
    {"num_heads": 1, "scale": 1.0, "unidirectional": 0},
)
_GROUP_QUERY = _contrib(
    "GroupQueryAttention",
    "query key value past_key past_value seqlens_k:i total_sequence_length:i "
    "cos_cache sin_cache position_ids attention_bias",
    "output present_key present_value",
    {"num_heads": 1, "kv_num_heads": 1, "scale": 1.0},
)


def _joined(x: Value) -> Value:
    """(batch, heads, len, head_dim) → (batch, len, width), or what it was split from."""
    turned = x.producer()
    split = turned.inputs[0].producer() if turned and turned.op_type == "Transpose" else None
    if split and split.op_type == "Reshape" and len(split.inputs[0].shape or ()) == 3:
        return split.inputs[0]
    return op.Reshape(op.Transpose(x, perm=[0, 2, 1, 3]), op.Constant(value_ints=[0, 0, -1]))


def _multi_head(
    query: Value,
    key: Value,
    value: Value,
    *,
    mask: Value | None,
    causal: bool,
    scale: float | None,
) -> Value:
    """scaled_dot_product_attention → com.microsoft.MultiHeadAttention.

    Which keys are kept goes in as the op's padding mask, any other mask as a bias of the scores.
    """
    heads = int(query.shape[1])
    padding = bias = None
    if mask is not None and mask.dtype not in MASKED and mask.shape[1] == mask.shape[2] == 1:
        padding = op.Cast(op.Squeeze(mask, op.Constant(value_ints=[1, 2])), to=INT32)
    elif mask is not None:
        bias = over_queries(scores_bias(mask, query), query)
    out = _MULTI_HEAD(
        _joined(query),
        _joined(key),
        _joined(value),
        None,
        padding,
        bias,
        num_heads=heads,
        unidirectional=int(causal),
        **({} if scale is None else {"scale": scale}),
    )
    split = op.Reshape(out, op.Constant(value_ints=[0, 0, heads, -1]))
    return op.Transpose(split, perm=[0, 2, 1, 3])


def _step(
    query: Value,
    new: Value | None,
    keys: Value,
    values: Value,
    last: Value,
    bias: Value | None = None,
) -> tuple[Value, Value, Value]:
    """GroupQueryAttention of one query a row to positions 0..last of its keys and values.

    `new` stands for key and value that the op writes at `last`: None where they are in `query`
    too, empty where nothing is to be written.
    """
    heads = int(keys.shape[1])
    total = op.Add(op.ReduceMax(last, keepdims=0), op.Cast(op.Constant(value_int=1), to=INT32))
    biased: tuple[Value, ...] = ()
    if bias is not None:
        zero, positions = op.Constant(value_ints=[0]), op.Constant(value_ints=[3])
        ends = op.Reshape(op.Cast(total, to=INT64), op.Constant(value_ints=[1]))
        biased = (None, None, None, op.Slice(bias, zero, ends, positions))
    outputs: tuple[Value, Value, Value] = _GROUP_QUERY(
        query, new, new, keys, values, last, total, *biased, num_heads=heads, kv_num_heads=heads
    )
    return outputs


def _attend_cached(
    query_key_value: Value,
    past_key: Value,
    past_value: Value,
    past_lengths: Value,
    bias: Value | None = None,
) -> tuple[Value, Value, Value]:
    """attend_cached → com.microsoft.GroupQueryAttention, which writes the cache in place."""
    last = op.Cast(past_lengths, to=INT32)
    return _step(query_key_value, None, past_key, past_value, last, bias)


def _attend_memory(
    query: Value, key: Value, value: Value, lengths: Value
) -> tuple[Value, Value, Value]:
    """attend_memory → the same op over a cache to which nothing is added."""
    zero, one = op.Constant(value_ints=[0]), op.Constant(value_ints=[1])
    last = op.Cast(op.Sub(lengths, one), to=INT32)
    return _step(query, op.Slice(query, zero, zero, one), key, value, last)


LOWERING = Lowering(
    attend=_multi_head,
    attend_op="MultiHeadAttention",
    attend_cached=_attend_cached,
    attend_memory=_attend_memory,
    attend_step_op="GroupQueryAttention",
)
