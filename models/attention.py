"""queries, keys, values, mask → attended values: the one attention of every model here.

Three functions cover all uses: `attend` for whole sequences, and for one decoding step
`attend_cached`, over a cache that is written in place when served, and `attend_memory`, over the
keys and values of an encoded source. The exporter lowers each of them per target
(`export/lower.py`); the models never know what they are lowered to.

Source: Vaswani et al. 2017, "Attention Is All You Need", equation 1:
softmax(Q K^T / sqrt(head_dim)) V.
"""

import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional


def attend(
    query: Float[Tensor, "batch heads tgt_len head_dim"],
    key: Float[Tensor, "batch heads src_len head_dim"],
    value: Float[Tensor, "batch heads src_len value_dim"],
    *,
    mask: Bool[Tensor, " #batch #heads #tgt_len src_len"]
    | Float[Tensor, " #batch #heads #tgt_len src_len"]
    | None = None,
    causal: bool = False,
) -> Float[Tensor, "batch heads tgt_len value_dim"]:
    """Scaled dot-product attention over a whole sequence.

    `mask` is True where a key is kept, or holds floats that are added to the scores.
    """
    return functional.scaled_dot_product_attention(
        query, key, value, attn_mask=mask, is_causal=causal
    )


def attention_weights(
    query: Float[Tensor, "batch heads tgt_len head_dim"],
    key: Float[Tensor, "batch heads src_len head_dim"],
    *,
    mask: Bool[Tensor, " #batch #heads #tgt_len src_len"]
    | Float[Tensor, " #batch #heads #tgt_len src_len"]
    | None = None,
    causal: bool = False,
) -> Float[Tensor, "batch heads tgt_len src_len"]:
    """softmax(Q K^T / sqrt(head_dim)): what `attend` multiplies the values with.

    No fused operator tells it, so it is computed beside `attend` where somebody asks.
    """
    scores = query @ key.transpose(2, 3) / math.sqrt(query.shape[3])
    if causal:
        places = torch.arange(key.shape[2], device=key.device)
        scores = scores.masked_fill(places[: query.shape[2], None] < places[None, :], -math.inf)
    if mask is not None:
        scores = scores.masked_fill(~mask, -math.inf) if mask.dtype == torch.bool else scores + mask
    return scores.softmax(dim=-1)


def split_heads(
    x: Float[Tensor, "batch len width"], heads: int
) -> Float[Tensor, "batch heads len head_dim"]:
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)  # type: ignore[no-untyped-call,no-any-return]


def join_heads(x: Float[Tensor, "batch heads len head_dim"]) -> Float[Tensor, "batch len width"]:
    return x.transpose(1, 2).flatten(2)


@torch.library.custom_op("attendant::attend_cached", mutates_args=())
def _attend_cached(
    query_key_value: Tensor,
    past_key: Tensor,
    past_value: Tensor,
    past_lengths: Tensor,
    bias: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    heads, positions = past_key.shape[1], torch.arange(past_key.shape[2])
    query, key, value = (split_heads(x, heads) for x in query_key_value.chunk(3, dim=-1))
    rows = torch.arange(query.shape[0])
    present_key, present_value = past_key.clone(), past_value.clone()
    present_key[rows, :, past_lengths] = key[:, :, 0]
    present_value[rows, :, past_lengths] = value[:, :, 0]
    keep = (positions[None, :] <= past_lengths[:, None])[:, None, None, :]
    mask = keep if bias is None else bias.masked_fill(~keep, -torch.inf)
    out = attend(query, present_key, present_value, mask=mask)
    return join_heads(out), present_key, present_value


@_attend_cached.register_fake
def _(
    query_key_value: Tensor,
    past_key: Tensor,
    past_value: Tensor,
    past_lengths: Tensor,
    bias: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    width = query_key_value.shape[-1] // 3
    return (
        torch.empty_like(query_key_value[..., :width]),
        torch.empty_like(past_key),
        torch.empty_like(past_value),
    )


def attend_cached(
    query_key_value: Float[Tensor, "batch 1 three_widths"],
    *,
    past_key: Float[Tensor, "batch heads max_len head_dim"],
    past_value: Float[Tensor, "batch heads max_len head_dim"],
    past_lengths: Int[Tensor, " batch"],
    bias: Float[Tensor, "batch heads 1 max_len"] | None = None,
) -> tuple[
    Float[Tensor, "batch 1 width"],
    Float[Tensor, "batch heads max_len head_dim"],
    Float[Tensor, "batch heads max_len head_dim"],
]:
    """One new position per row, each row with a past of its own length.

    `query_key_value` holds the three side by side, each with its heads side by side. The key and
    value of row b are written at `past_lengths[b]`; the query sees positions 0..past_lengths[b].
    `past_lengths` must be below max_len. `bias` is added to the scores, as for relative positions.
    Returns the output and the two caches after the write.
    """
    out: tuple[Tensor, Tensor, Tensor] = _attend_cached(
        query_key_value, past_key, past_value, past_lengths, bias
    )
    return out


@torch.library.custom_op("attendant::attend_memory", mutates_args=())
def _attend_memory(
    query: Tensor, key: Tensor, value: Tensor, lengths: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    keep = torch.arange(key.shape[2])[None, :] < lengths[:, None]
    out = attend(split_heads(query, key.shape[1]), key, value, mask=keep[:, None, None, :])
    # What an operator of torch returns must be memory of its own.
    return join_heads(out), key.clone(), value.clone()


@_attend_memory.register_fake
def _(query: Tensor, key: Tensor, value: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return torch.empty_like(query), torch.empty_like(key), torch.empty_like(value)


def attend_memory(
    query: Float[Tensor, "batch 1 width"],
    *,
    key: Float[Tensor, "batch heads src_len head_dim"],
    value: Float[Tensor, "batch heads src_len head_dim"],
    lengths: Int[Tensor, " batch"],
) -> tuple[
    Float[Tensor, "batch 1 width"],
    Float[Tensor, "batch heads src_len head_dim"],
    Float[Tensor, "batch heads src_len head_dim"],
]:
    """One query per row over keys and values that stay as they are.

    Row b sees the first `lengths[b]` of them. Returns the output, and keys and values once more:
    what is bound to one buffer on both sides when served need not be copied by any runtime.
    """
    out: tuple[Tensor, Tensor, Tensor] = _attend_memory(query, key, value, lengths)
    return out
