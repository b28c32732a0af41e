"""attention of a traced module → the attention op of one target.

A target is a translation table for `torch.onnx.export`: it says what the two functions of
`models/attention.py` become, and the models know nothing of it. `cpu` uses ONNX Runtime's contrib
ops, `onnx` the standard Attention of opset 23.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from onnx.defs import OpSchema
from onnxscript import opset23
from onnxscript.values import Op, Opset

import models.attention  # noqa: F401  (registers attendant::attend_cached)

op: Any = opset23  # its stubs want a type for every tensor of a graph
Value = Any
"""A tensor of the graph under construction."""
INT32, INT64, BOOL = 6, 7, 9
MASKED = -1e9
"""Added to the scores of masked keys; large enough for a weight of exactly zero in float32."""


@dataclass(frozen=True)
class Target:
    """What attention becomes, and the ops that are counted as such."""

    table: Mapping[Callable[..., Any], Callable[..., Any]]
    attention_ops: tuple[str, ...]


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


def _scores_bias(mask: Value, query: Value) -> Value:
    """True-is-keep mask → what is added to the scores, spelled out over the query positions."""
    zero, masked = op.Constant(value_float=0.0), op.Constant(value_float=MASKED)
    bias = op.Where(mask, zero, masked)
    one = op.Constant(value_ints=[1])
    shape = op.Concat(one, one, op.Shape(query, start=2, end=3), one, axis=0)
    return op.Expand(bias, shape)


def _multi_head(
    query: Value,
    key: Value,
    value: Value,
    attn_mask: Value = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Value:
    """scaled_dot_product_attention → com.microsoft.MultiHeadAttention.

    A mask over keys alone goes in as the op's padding mask, any other as a bias of the scores.
    Keys and values that a graph input brings already split by head stay as they are.
    """
    heads = int(query.shape[1])
    padding = bias = None
    if attn_mask is not None and attn_mask.shape[1] == 1 and attn_mask.shape[2] == 1:
        padding = op.Cast(op.Squeeze(attn_mask, op.Constant(value_ints=[1, 2])), to=INT32)
    elif attn_mask is not None:
        bias = _scores_bias(attn_mask, query)
    split = key.is_graph_input()
    out = _MULTI_HEAD(
        _joined(query),
        key if split else _joined(key),
        value if split else _joined(value),
        None,
        padding,
        bias,
        num_heads=heads,
        unidirectional=int(is_causal),
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


def _standard(
    query: Value,
    key: Value,
    value: Value,
    attn_mask: Value = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Value:
    """scaled_dot_product_attention → Attention of opset 23."""
    if attn_mask is not None:
        one = op.Constant(value_ints=[1])
        shape = op.Concat(one, one, op.Shape(query, start=2, end=3), one, axis=0)
        attn_mask = op.Cast(op.Expand(op.Cast(attn_mask, to=INT32), shape), to=BOOL)
    out, *_ = op.Attention(query, key, value, attn_mask, is_causal=int(is_causal))
    return out


def _standard_cached(
    query: Value,
    key: Value,
    value: Value,
    past_key: Value,
    past_value: Value,
    past_lengths: Value,
) -> tuple[Value, Value, Value]:
    """attend_cached → a write by comparison of positions, and Attention of opset 23."""
    zero, one = op.Constant(value_int=0), op.Constant(value_int=1)
    max_len = op.Squeeze(op.Shape(past_key, start=2, end=3))
    positions = op.Unsqueeze(op.Range(zero, max_len, one), op.Constant(value_ints=[0]))
    past = op.Unsqueeze(past_lengths, op.Constant(value_ints=[1]))
    here = op.Unsqueeze(op.Equal(positions, past), op.Constant(value_ints=[1, 3]))
    present_key = op.Where(here, key, past_key)
    present_value = op.Where(here, value, past_value)
    keep = op.Unsqueeze(op.LessOrEqual(positions, past), op.Constant(value_ints=[1, 2]))
    out, *_ = op.Attention(query, present_key, present_value, keep)
    return out, present_key, present_value


_ATTEND = torch.ops.aten.scaled_dot_product_attention.default
_ATTEND_CACHED = torch.ops.attendant.attend_cached.default
TARGETS = {
    "cpu": Target(
        {_ATTEND: _multi_head, _ATTEND_CACHED: _group_query},
        ("MultiHeadAttention", "GroupQueryAttention"),
    ),
    "onnx": Target({_ATTEND: _standard, _ATTEND_CACHED: _standard_cached}, ("Attention",)),
}
