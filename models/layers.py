"""vectors → vectors: the layers that every architecture is built from.

All blocks are pre-norm (Xiong et al. 2020, "On Layer Normalization in the Transformer
Architecture"): x + sublayer(norm(x)).
"""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from models.attention import attend, attend_cached, attend_memory, join_heads, split_heads

Heads = Float[Tensor, "batch heads len head_dim"]
Memory = tuple[
    Float[Tensor, "batch heads src_len head_dim"], Float[Tensor, "batch heads src_len head_dim"]
]
"""Keys and values of an encoded source."""
Cache = tuple[
    Float[Tensor, "batch heads max_len head_dim"], Float[Tensor, "batch heads max_len head_dim"]
]
"""Keys and values of the positions so far, in buffers of max_len."""


def sinusoidal_positions(length: int, width: int) -> Float[Tensor, "length width"]:
    """Fixed position vectors: sine of each frequency, then cosine (Vaswani et al. 2017, 3.5)."""
    half = width // 2
    frequencies = torch.exp(-math.log(10_000.0) / (half - 1) * torch.arange(half))
    angles = torch.arange(length)[:, None] * frequencies[None, :]
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def keep_mask(lengths: Int[Tensor, " batch"], length: int) -> Bool[Tensor, "batch 1 1 length"]:
    """Lengths → mask over keys, True where a position is inside its row."""
    return (torch.arange(length, device=lengths.device)[None, :] < lengths[:, None])[
        :, None, None, :
    ]


def flat(layers: Sequence[Memory]) -> tuple[Tensor, ...]:
    """Key and value of each layer → one tuple, as graphs name them: key_0, value_0, key_1, ..."""
    return tuple(tensor for layer in layers for tensor in layer)


def pairs(tensors: Sequence[Tensor]) -> list[Memory]:
    """The inverse of `flat`."""
    return list(zip(tensors[::2], tensors[1::2], strict=True))


class SelfAttention(nn.Module):
    """Multi-head attention of a sequence to itself (Vaswani et al. 2017, 3.2.2)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query_key_value = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(
        self,
        x: Float[Tensor, "batch len width"],
        *,
        mask: Bool[Tensor, " #batch #heads #len len"] | None = None,
        causal: bool = False,
    ) -> Float[Tensor, "batch len width"]:
        projected = self.query_key_value(x).chunk(3, dim=-1)
        query, key, value = (split_heads(part, self.heads) for part in projected)
        out: Tensor = self.out(join_heads(attend(query, key, value, mask=mask, causal=causal)))
        return out

    def step(
        self,
        x: Float[Tensor, "batch 1 width"],
        *,
        cache: Cache,
        past_lengths: Int[Tensor, " batch"],
    ) -> tuple[Float[Tensor, "batch 1 width"], Cache]:
        """One position of a causal sequence; returns the output and the cache after it."""
        out, key, value = attend_cached(
            self.query_key_value(x),
            past_key=cache[0],
            past_value=cache[1],
            past_lengths=past_lengths,
        )
        return self.out(out), (key, value)


class CrossAttention(nn.Module):
    """Attention to an encoded source, whose keys and values are projected once (`keys_values`)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)

    def keys_values(self, x: Float[Tensor, "batch len width"]) -> Memory:
        key, value = self.key_value(x).chunk(2, dim=-1)
        return split_heads(key, self.heads), split_heads(value, self.heads)

    def forward(
        self,
        x: Float[Tensor, "batch len width"],
        *,
        memory: Memory,
        mask: Bool[Tensor, " #batch #heads #len src_len"] | None = None,
    ) -> Float[Tensor, "batch len width"]:
        query = split_heads(self.query(x), self.heads)
        out: Tensor = self.out(join_heads(attend(query, memory[0], memory[1], mask=mask)))
        return out

    def step(
        self,
        x: Float[Tensor, "batch 1 width"],
        *,
        memory: Memory,
        memory_lengths: Int[Tensor, " batch"],
    ) -> tuple[Float[Tensor, "batch 1 width"], Memory]:
        """One position; returns the output and the memory as it was."""
        out, key, value = attend_memory(
            self.query(x), key=memory[0], value=memory[1], lengths=memory_lengths
        )
        return self.out(out), (key, value)


class FeedForward(nn.Sequential):
    """Two projections with a GELU between them."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))


class EncoderLayer(nn.Module):
    """Self-attention and feed-forward, each behind a norm."""

    def __init__(self, width: int, heads: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.self_attention_norm = nn.LayerNorm(width)
        self.self_attention = SelfAttention(width, heads)
        self.feed_forward_norm = nn.LayerNorm(width)
        self.feed_forward = FeedForward(width, hidden)
        self.dropout = dropout

    def drop(self, x: Float[Tensor, "batch len width"]) -> Float[Tensor, "batch len width"]:
        """Dropout with one mask for all positions of a row (Gal and Ghahramani 2016).

        It draws `len` times fewer random numbers, which were a tenth of a training step.
        """
        if not (self.training and self.dropout):
            return x
        keep = torch.empty_like(x[:, :1]).bernoulli_(1 - self.dropout)
        return x * (keep / (1 - self.dropout))

    def forward(
        self,
        x: Float[Tensor, "batch len width"],
        *,
        mask: Bool[Tensor, " #batch #heads #len len"] | None = None,
    ) -> Float[Tensor, "batch len width"]:
        x = x + self.drop(self.self_attention(self.self_attention_norm(x), mask=mask))
        return x + self.drop(self.feed_forward(self.feed_forward_norm(x)))


class DecoderLayer(EncoderLayer):
    """Causal self-attention, cross-attention and feed-forward, each behind a norm."""

    def __init__(self, width: int, heads: int, hidden: int, dropout: float) -> None:
        super().__init__(width, heads, hidden, dropout)
        self.cross_attention_norm = nn.LayerNorm(width)
        self.cross_attention = CrossAttention(width, heads)

    def forward(  # type: ignore[override]
        self,
        x: Float[Tensor, "batch tgt_len width"],
        *,
        memory: Memory,
        memory_mask: Bool[Tensor, "batch 1 1 src_len"] | None = None,
    ) -> Float[Tensor, "batch tgt_len width"]:
        """A whole target sequence, as in training."""
        x = x + self.drop(self.self_attention(self.self_attention_norm(x), causal=True))
        normed = self.cross_attention_norm(x)
        x = x + self.drop(self.cross_attention(normed, memory=memory, mask=memory_mask))
        return x + self.drop(self.feed_forward(self.feed_forward_norm(x)))

    def step(
        self,
        x: Float[Tensor, "batch 1 width"],
        *,
        cache: Cache,
        past_lengths: Int[Tensor, " batch"],
        memory: Memory,
        memory_lengths: Int[Tensor, " batch"],
    ) -> tuple[Float[Tensor, "batch 1 width"], Cache, Memory]:
        """One target position over a cache, as in decoding; returns cache and memory after it."""
        attended, cache = self.self_attention.step(
            self.self_attention_norm(x), cache=cache, past_lengths=past_lengths
        )
        x = x + attended
        attended, memory = self.cross_attention.step(
            self.cross_attention_norm(x), memory=memory, memory_lengths=memory_lengths
        )
        x = x + attended
        return x + self.feed_forward(self.feed_forward_norm(x)), cache, memory
