"""queries, keys, values, mask → attended values: the one attention of every model here.

Two functions cover all uses: `attend` for whole sequences, `attend_cached` for one decoding step
over a cache that is written in place when served. The exporter lowers each of them per target
(`export/lower.py`); the models never know what they are lowered to.

Source: Vaswani et al. 2017, "Attention Is All You Need", equation 1:
softmax(Q K^T / sqrt(head_dim)) V.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional


def attend(
    query: Float[Tensor, "batch heads tgt_len head_dim"],
    key: Float[Tensor, "batch heads src_len head_dim"],
    value: Float[Tensor, "batch heads src_len head_dim"],
    *,
    mask: Bool[Tensor, " #batch #heads #tgt_len src_len"] | None = None,
    causal: bool = False,
) -> Float[Tensor, "batch heads tgt_len head_dim"]:
    """Scaled dot-product attention over a whole sequence; mask is True where a key is kept."""
    return functional.scaled_dot_product_attention(
        query, key, value, attn_mask=mask, is_causal=causal
    )


@torch.library.custom_op("attendant::attend_cached", mutates_args=())
def _attend_cached(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    past_key: Tensor,
    past_value: Tensor,
    past_lengths: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    rows = torch.arange(query.shape[0])
    present_key, present_value = past_key.clone(), past_value.clone()
    present_key[rows, :, past_lengths] = key[:, :, 0]
    present_value[rows, :, past_lengths] = value[:, :, 0]
    positions = torch.arange(past_key.shape[2])
    keep = positions[None, :] <= past_lengths[:, None]
    out = attend(query, present_key, present_value, mask=keep[:, None, None, :])
    return out, present_key, present_value


@_attend_cached.register_fake
def _(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    past_key: Tensor,
    past_value: Tensor,
    past_lengths: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    return (
        torch.empty_like(query),
        torch.empty_like(past_key),
        torch.empty_like(past_value),
    )


def attend_cached(
    query: Float[Tensor, "batch heads 1 head_dim"],
    key: Float[Tensor, "batch heads 1 head_dim"],
    value: Float[Tensor, "batch heads 1 head_dim"],
    *,
    past_key: Float[Tensor, "batch heads max_len head_dim"],
    past_value: Float[Tensor, "batch heads max_len head_dim"],
    past_lengths: Int[Tensor, " batch"],
) -> tuple[
    Float[Tensor, "batch heads 1 head_dim"],
    Float[Tensor, "batch heads max_len head_dim"],
    Float[Tensor, "batch heads max_len head_dim"],
]:
    """One new position per row, each row with a past of its own length.

    The key and value of row b are written at `past_lengths[b]`; the query sees positions
    0..past_lengths[b]. `past_lengths` must be below max_len. Returns the output and the two
    caches after the write.
    """
    out: tuple[Tensor, Tensor, Tensor] = _attend_cached(
        query, key, value, past_key, past_value, past_lengths
    )
    return out
