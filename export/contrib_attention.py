"""attention → ONNX Runtime's fused ops: MultiHeadAttention, GroupQueryAttention over a cache."""

from collections.abc import Mapping

from onnx.defs import OpSchema
from onnxscript.values import Op, Opset

from export.lower import INT32, Lowering, Value, op, over_queries, scores_bias


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
    "query key value past_key past_value seqlens_k:i total_sequence_length:i",
    "output present_key present_value",
    {"num_heads": 1, "kv_num_heads": 1, "scale": 1.0},
)


def _joined(x: Value) -> Value:
    """(batch, heads, len, head_dim) → (batch, len, width)."""
    return op.Reshape(op.Transpose(x, perm=[0, 2, 1, 3]), op.Constant(value_ints=[0, 0, -1]))


def _split(x: Value, heads: int) -> Value:
    """(batch, len, width) → (batch, heads, len, head_dim)."""
    shape = op.Constant(value_ints=[0, 0, heads, -1])
    return op.Transpose(op.Reshape(x, shape), perm=[0, 2, 1, 3])


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

    A mask over keys alone goes in as the op's padding mask, any other as a bias of the scores.
    Keys and values that a graph input brings already split by head stay as they are.
    """
    heads = int(query.shape[1])
    padding = bias = None
    if mask is not None and mask.shape[1] == 1 and mask.shape[2] == 1:
        padding = op.Cast(op.Squeeze(mask, op.Constant(value_ints=[1, 2])), to=INT32)
    elif mask is not None:
        bias = over_queries(scores_bias(mask, query), query)
    split = key.is_graph_input()
    out = _MULTI_HEAD(
        _joined(query),
        key if split else _joined(key),
        value if split else _joined(value),
        None,
        padding,
        bias,
        num_heads=heads,
        unidirectional=int(causal),
        **({} if scale is None else {"scale": scale}),
    )
    return _split(out, heads)


def _group_query(
    query: Value,
    key: Value,
    value: Value,
    past_key: Value,
    past_value: Value,
    past_lengths: Value,
) -> tuple[Value, Value, Value]:
    """attend_cached → com.microsoft.GroupQueryAttention, which writes the cache in place."""
    heads = int(query.shape[1])
    seqlens = op.Cast(past_lengths, to=INT32)
    total = op.Add(op.ReduceMax(seqlens, keepdims=0), op.Cast(op.Constant(value_int=1), to=INT32))
    out, present_key, present_value = _GROUP_QUERY(
        _joined(query),
        _joined(key),
        _joined(value),
        past_key,
        past_value,
        seqlens,
        total,
        num_heads=heads,
        kv_num_heads=heads,
    )
    return _split(out, heads), present_key, present_value


LOWERING = Lowering(
    attend=_multi_head,
    attend_op="MultiHeadAttention",
    attend_cached=_group_query,
    attend_cached_op="GroupQueryAttention",
)
