"""vectors → vectors: the layers that every architecture is built from.

Blocks are pre-norm unless a config says otherwise (Xiong et al. 2020, "On Layer Normalization in
the Transformer Architecture"): x + sublayer(norm(x)).
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from models.attention import (
    attend,
    attend_cached,
    attend_memory,
    attention_weights,
    join_heads,
    split_heads,
)
from models.positions import Rotation, rotate

Heads = Float[Tensor, "batch heads len head_dim"]
Memory = tuple[
    Float[Tensor, "batch heads src_len head_dim"], Float[Tensor, "batch heads src_len head_dim"]
]
"""Keys and values of an encoded source."""
Cache = tuple[
    Float[Tensor, "batch heads max_len head_dim"], Float[Tensor, "batch heads max_len head_dim"]
]
"""Keys and values of the positions so far, in buffers of max_len."""
Mask = (
    Bool[Tensor, " #batch #heads #tgt_len src_len"]
    | Float[Tensor, " #batch #heads #tgt_len src_len"]
)
"""True where a key is kept, or what is added to the scores."""


@dataclass(frozen=True, kw_only=True)
class Block:
    """In what the layers of published Transformers differ; the config of an architecture is one."""

    norm_first: bool = True
    """Norm before each sublayer, or after its residual sum as in Vaswani et al. 2017."""
    norm: Literal["layer", "rms"] = "layer"
    """RMSNorm (Zhang and Sennrich 2019) neither centres nor shifts."""
    norm_epsilon: float = 1e-5
    activation: Literal["gelu", "gelu_tanh", "relu", "silu"] = "gelu"
    gated: bool = False
    """Feed-forward with a gate (Shazeer 2020, "GLU Variants Improve Transformer")."""
    head_dim: int | None = None
    """Width over heads if not set."""

    def make_norm(self, width: int) -> nn.LayerNorm | nn.RMSNorm:
        kind = nn.LayerNorm if self.norm == "layer" else nn.RMSNorm
        return kind(width, eps=self.norm_epsilon)


ACTIVATIONS: Mapping[str, Callable[[], nn.Module]] = {
    "gelu": nn.GELU,
    "gelu_tanh": partial(nn.GELU, approximate="tanh"),
    "relu": nn.ReLU,
    "silu": nn.SiLU,
}


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

    def __init__(self, width: int, heads: int, head_dim: int | None = None) -> None:
        super().__init__()
        inner = heads * head_dim if head_dim else width
        self.heads = heads
        self.query_key_value = nn.Linear(width, 3 * inner)
        self.out = nn.Linear(inner, width)

    def joined(
        self, x: Float[Tensor, "batch len width"], rotation: Rotation | None
    ) -> tuple[Float[Tensor, "batch len inner"], ...]:
        """Query, key and value, each with its heads side by side."""
        query, key, value = self.query_key_value(x).chunk(3, dim=-1)
        if rotation is not None:
            query, key = rotate(query, rotation), rotate(key, rotation)
        return query, key, value

    def project(
        self, x: Float[Tensor, "batch len width"], rotation: Rotation | None = None
    ) -> tuple[Heads, Heads, Heads]:
        """Queries, keys and values."""
        query, key, value = (split_heads(part, self.heads) for part in self.joined(x, rotation))
        return query, key, value

    def forward(
        self,
        x: Float[Tensor, "batch len width"],
        *,
        mask: Mask | None = None,
        causal: bool = False,
        rotation: Rotation | None = None,
    ) -> Float[Tensor, "batch len width"]:
        query, key, value = self.project(x, rotation)
        out: Tensor = self.out(join_heads(attend(query, key, value, mask=mask, causal=causal)))
        return out

    def attention_weights(
        self,
        x: Float[Tensor, "batch len width"],
        *,
        mask: Mask | None = None,
        causal: bool = False,
        rotation: Rotation | None = None,
    ) -> Float[Tensor, "batch heads len len"]:
        """How much each position takes of every other, in `forward` of the same."""
        query, key, _ = self.project(x, rotation)
        return attention_weights(query, key, mask=mask, causal=causal)

    def step(
        self,
        x: Float[Tensor, "batch 1 width"],
        *,
        cache: Cache,
        past_lengths: Int[Tensor, " batch"],
        bias: Float[Tensor, "batch heads 1 max_len"] | None = None,
        rotation: Rotation | None = None,
    ) -> tuple[Float[Tensor, "batch 1 width"], Cache]:
        """One position of a causal sequence; returns the output and the cache after it.

        Keys stand in the cache as they are turned, each by its own position.
        """
        turned = rotation is not None
        out, key, value = attend_cached(
            torch.cat(self.joined(x, rotation), dim=-1) if turned else self.query_key_value(x),
            past_key=cache[0],
            past_value=cache[1],
            past_lengths=past_lengths,
            bias=bias,
        )
        return self.out(out), (key, value)


class CrossAttention(nn.Module):
    """Attention to an encoded source, whose keys and values are projected once (`keys_values`)."""

    def __init__(self, width: int, heads: int, head_dim: int | None = None) -> None:
        super().__init__()
        inner = heads * head_dim if head_dim else width
        self.heads = heads
        self.query = nn.Linear(width, inner)
        self.key_value = nn.Linear(width, 2 * inner)
        self.out = nn.Linear(inner, width)

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

    def attention_weights(
        self,
        x: Float[Tensor, "batch len width"],
        *,
        memory: Memory,
        mask: Bool[Tensor, " #batch #heads #len src_len"] | None = None,
    ) -> Float[Tensor, "batch heads len src_len"]:
        """How much each position takes of each of the source, in `forward` of the same."""
        return attention_weights(split_heads(self.query(x), self.heads), memory[0], mask=mask)

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
    """Two projections with an activation between them."""

    def __init__(self, width: int, hidden: int, activation: str = "gelu") -> None:
        super().__init__(
            nn.Linear(width, hidden), ACTIVATIONS[activation](), nn.Linear(hidden, width)
        )


class GatedFeedForward(nn.Module):
    """act(x W) ⊗ x V, projected back (Shazeer 2020, equation 5)."""

    def __init__(self, width: int, hidden: int, activation: str) -> None:
        super().__init__()
        self.gate = nn.Linear(width, hidden)
        self.activation = ACTIVATIONS[activation]()
        self.value = nn.Linear(width, hidden)
        self.out = nn.Linear(hidden, width)

    def forward(self, x: Float[Tensor, "batch len width"]) -> Float[Tensor, "batch len width"]:
        out: Tensor = self.out(self.activation(self.gate(x)) * self.value(x))
        return out


class EncoderLayer(nn.Module):
    """Self-attention and feed-forward, each with a norm."""

    def __init__(
        self, width: int, heads: int, hidden: int, dropout: float, block: Block = Block()
    ) -> None:
        super().__init__()
        feed_forward = GatedFeedForward if block.gated else FeedForward
        self.self_attention_norm = block.make_norm(width)
        self.self_attention = SelfAttention(width, heads, block.head_dim)
        self.feed_forward_norm = block.make_norm(width)
        self.feed_forward = feed_forward(width, hidden, block.activation)
        self.dropout = dropout
        self.norm_first = block.norm_first

    def before(
        self, norm: nn.Module, x: Float[Tensor, "batch len width"]
    ) -> Float[Tensor, "batch len width"]:
        """What a sublayer takes."""
        taken: Tensor = norm(x) if self.norm_first else x
        return taken

    def after(
        self,
        norm: nn.Module,
        x: Float[Tensor, "batch len width"],
        out: Float[Tensor, "batch len width"],
    ) -> Float[Tensor, "batch len width"]:
        """What a sublayer took and gave → what the next one sees."""
        added = x + nn.functional.dropout(out, self.dropout, self.training)
        seen: Tensor = added if self.norm_first else norm(added)
        return seen

    def fed_forward(self, x: Float[Tensor, "batch len width"]) -> Float[Tensor, "batch len width"]:
        norm = self.feed_forward_norm
        return self.after(norm, x, self.feed_forward(self.before(norm, x)))

    def forward(
        self,
        x: Float[Tensor, "batch len width"],
        *,
        mask: Mask | None = None,
        rotation: Rotation | None = None,
    ) -> Float[Tensor, "batch len width"]:
        norm = self.self_attention_norm
        attended = self.self_attention(self.before(norm, x), mask=mask, rotation=rotation)
        return self.fed_forward(self.after(norm, x, attended))


class ScaledEncoderLayer(EncoderLayer):
    """What a sublayer adds, by a factor per channel (Touvron et al. 2021, "CaiT", 2)."""

    def __init__(
        self, width: int, heads: int, hidden: int, dropout: float, block: Block = Block()
    ) -> None:
        super().__init__(width, heads, hidden, dropout, block)
        self.self_attention_scale = nn.Parameter(torch.ones(width))
        self.feed_forward_scale = nn.Parameter(torch.ones(width))

    def forward(
        self,
        x: Float[Tensor, "batch len width"],
        *,
        mask: Mask | None = None,
        rotation: Rotation | None = None,
    ) -> Float[Tensor, "batch len width"]:
        norm = self.self_attention_norm
        attended = self.self_attention(self.before(norm, x), mask=mask, rotation=rotation)
        x = self.after(norm, x, self.self_attention_scale * attended)
        norm = self.feed_forward_norm
        out = self.feed_forward(self.before(norm, x))
        return self.after(norm, x, self.feed_forward_scale * out)


class DecoderLayer(EncoderLayer):
    """Causal self-attention, cross-attention and feed-forward, each with a norm."""

    def __init__(
        self, width: int, heads: int, hidden: int, dropout: float, block: Block = Block()
    ) -> None:
        super().__init__(width, heads, hidden, dropout, block)
        self.cross_attention_norm = block.make_norm(width)
        self.cross_attention = CrossAttention(width, heads, block.head_dim)

    def forward(  # type: ignore[override]
        self,
        x: Float[Tensor, "batch tgt_len width"],
        *,
        memory: Memory,
        memory_mask: Bool[Tensor, "batch 1 1 src_len"] | None = None,
        bias: Float[Tensor, "#batch heads tgt_len tgt_len"] | None = None,
        rotation: Rotation | None = None,
    ) -> Float[Tensor, "batch tgt_len width"]:
        """A whole target sequence, as in training; `bias` hides what is to come by itself."""
        norm = self.self_attention_norm
        attended = self.self_attention(
            self.before(norm, x), mask=bias, causal=bias is None, rotation=rotation
        )
        x = self.after(norm, x, attended)
        norm = self.cross_attention_norm
        attended = self.cross_attention(self.before(norm, x), memory=memory, mask=memory_mask)
        return self.fed_forward(self.after(norm, x, attended))

    def step(
        self,
        x: Float[Tensor, "batch 1 width"],
        *,
        cache: Cache,
        past_lengths: Int[Tensor, " batch"],
        memory: Memory,
        memory_lengths: Int[Tensor, " batch"],
        bias: Float[Tensor, "batch heads 1 max_len"] | None = None,
        rotation: Rotation | None = None,
    ) -> tuple[Float[Tensor, "batch 1 width"], Cache, Memory]:
        """One target position over a cache, as in decoding; returns cache and memory after it."""
        norm = self.self_attention_norm
        attended, cache = self.self_attention.step(
            self.before(norm, x),
            cache=cache,
            past_lengths=past_lengths,
            bias=bias,
            rotation=rotation,
        )
        x = self.after(norm, x, attended)
        norm = self.cross_attention_norm
        attended, memory = self.cross_attention.step(
            self.before(norm, x), memory=memory, memory_lengths=memory_lengths
        )
        return self.fed_forward(self.after(norm, x, attended)), cache, memory
