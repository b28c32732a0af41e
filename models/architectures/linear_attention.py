"""source token ids → target token ids: a Transformer with linear attention, for translation.

Source: Katharopoulos et al. 2020, "Transformers are RNNs". It learns from whole sequences at once,
and is served as the recurrent network that it also is: a row of the decoding batch is a sum for
each layer, as large after a thousand tokens as before the first. Self-attention of both sides and
attention to the source are linear; blocks, positions and embedding are those of the Transformer.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional

from models import layers
from models.architectures.transformer import loss, score
from models.attention import join_heads, split_heads
from models.explain import aligning
from models.graph import Attentions, Graph
from models.layers import keep_mask, sinusoidal_positions
from models.linear_attention import (
    Sums,
    attend,
    attend_causal,
    attend_step,
    attention_weights,
    summed,
)
from models.positions import Rotation
from models.recipe import Recipe
from models.translator import decoder_graph, encoder_graph
from service.tasks.translation import CONTRACT

__all__ = [
    "PRESETS", "RECIPES", "TOLERANCE", "Config", "attentions", "build", "graphs", "loss", "score",
]  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Config:
    """Sizes of the model; `max_len` bounds source and target in tokens."""

    vocab: int
    width: int
    heads: int
    hidden: int
    encoder_layers: int
    decoder_layers: int
    max_len: int = 256
    dropout: float = 0.1


PRESETS = {
    "testing": Config(
        vocab=64,
        width=32,
        heads=2,
        hidden=64,
        encoder_layers=2,
        decoder_layers=2,
        max_len=160,
        dropout=0.0,
    ),
    "small": Config(
        vocab=4_000,
        width=256,
        heads=4,
        hidden=512,
        encoder_layers=3,
        decoder_layers=2,
        dropout=0.2,
    ),
}


class SelfAttention(layers.SelfAttention):
    """Linear attention of a sequence to itself."""

    def heads_of(
        self, x: Float[Tensor, "batch len width"], rotation: Rotation | None = None
    ) -> list[layers.Heads]:
        """Queries, keys and values."""
        return [split_heads(part, self.heads) for part in self.joined(x, rotation)]

    def forward(
        self,
        x: Float[Tensor, "batch len width"],
        *,
        mask: Bool[Tensor, "batch 1 len 1"] | None = None,
        causal: bool = False,
        rotation: Rotation | None = None,
    ) -> Float[Tensor, "batch len width"]:
        query, key, value = self.heads_of(x, rotation)
        if causal:
            attended = attend_causal(query, key, value)
        else:
            attended = attend(query, summed(key, value, keep=mask))
        out: Tensor = self.out(join_heads(attended))
        return out

    def step(  # type: ignore[override]
        self, x: Float[Tensor, "batch 1 width"], *, state: Sums
    ) -> tuple[Float[Tensor, "batch 1 width"], Sums]:
        attended, state = attend_step(*self.heads_of(x), sums=state)
        return self.out(join_heads(attended)), state


class CrossAttention(layers.CrossAttention):
    """Linear attention to an encoded source, of which the sums are all that is needed."""

    def summed(
        self, x: Float[Tensor, "batch len width"], keep: Bool[Tensor, "batch 1 len 1"]
    ) -> Sums:
        key, value = self.keys_values(x)
        return summed(key, value, keep=keep)

    def forward(  # type: ignore[override]
        self, x: Float[Tensor, "batch len width"], *, context: Sums
    ) -> Float[Tensor, "batch len width"]:
        query = split_heads(self.query(x), self.heads)
        out: Tensor = self.out(join_heads(attend(query, context)))
        return out

    def attention_weights(  # type: ignore[override]
        self,
        x: Float[Tensor, "batch len width"],
        source: Float[Tensor, "batch src_len width"],
        keep: Bool[Tensor, "batch 1 src_len 1"],
    ) -> Float[Tensor, "batch heads len src_len"]:
        """How much each position takes of each of the source, which the sums do not tell."""
        query = split_heads(self.query(x), self.heads)
        return attention_weights(query, self.keys_values(source)[0], keep=keep)


class EncoderLayer(layers.EncoderLayer):
    """Self-attention and feed-forward, each with a norm."""

    def __init__(self, config: Config) -> None:
        super().__init__(config.width, config.heads, config.hidden, config.dropout)
        self.self_attention: SelfAttention = SelfAttention(config.width, config.heads)


class DecoderLayer(EncoderLayer):
    """Causal self-attention, cross-attention and feed-forward, each with a norm."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.cross_attention_norm = nn.LayerNorm(config.width)
        self.cross_attention = CrossAttention(config.width, config.heads)

    def source_attended(
        self, x: Float[Tensor, "batch len width"], *, context: Sums
    ) -> Float[Tensor, "batch len width"]:
        """The last two sublayers."""
        norm = self.cross_attention_norm
        attended = self.cross_attention(self.before(norm, x), context=context)
        return self.fed_forward(self.after(norm, x, attended))

    def self_attended(
        self, x: Float[Tensor, "batch tgt_len width"]
    ) -> Float[Tensor, "batch tgt_len width"]:
        """The first sublayer, of a whole target sequence."""
        norm = self.self_attention_norm
        attended = self.self_attention(self.before(norm, x), causal=True)
        return self.after(norm, x, attended)

    def forward(  # type: ignore[override]
        self, x: Float[Tensor, "batch tgt_len width"], *, context: Sums
    ) -> Float[Tensor, "batch tgt_len width"]:
        """A whole target sequence, as in training."""
        return self.source_attended(self.self_attended(x), context=context)

    def step(
        self, x: Float[Tensor, "batch 1 width"], *, state: Sums, context: Sums
    ) -> tuple[Float[Tensor, "batch 1 width"], Sums]:
        """One target position, and the state after it, as in decoding."""
        norm = self.self_attention_norm
        attended, state = self.self_attention.step(self.before(norm, x), state=state)
        return self.source_attended(self.after(norm, x, attended), context=context), state


class LinearAttention(nn.Module):
    """Encoder and decoder over one shared vocabulary."""

    positions: Tensor

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocab, config.width)
        self.encoder = nn.ModuleList(EncoderLayer(config) for _ in range(config.encoder_layers))
        self.decoder = nn.ModuleList(DecoderLayer(config) for _ in range(config.decoder_layers))
        self.encoder_norm = nn.LayerNorm(config.width)
        self.decoder_norm = nn.LayerNorm(config.width)
        positions = sinusoidal_positions(config.max_len, config.width)
        self.register_buffer("positions", positions, persistent=False)
        nn.init.normal_(self.embedding.weight, std=config.width**-0.5)

    def embed(
        self, tokens: Int[Tensor, "batch len"], positions: Int[Tensor, "batch len"] | slice
    ) -> Float[Tensor, "batch len width"]:
        embedded: Tensor = self.embedding(tokens) * math.sqrt(self.config.width)
        return embedded + self.positions[positions]

    def project(self, x: Float[Tensor, "*positions width"]) -> Float[Tensor, "*positions vocab"]:
        return functional.linear(self.decoder_norm(x), self.embedding.weight)

    def read(
        self, source: Int[Tensor, "batch src_len"], lengths: Int[Tensor, " batch"]
    ) -> tuple[Float[Tensor, "batch src_len width"], Bool[Tensor, "batch 1 src_len 1"]]:
        """Source tokens → what the encoder makes of them, and which of them there are."""
        keep = keep_mask(lengths, source.shape[1]).transpose(2, 3)
        x = self.embed(source, slice(source.shape[1]))
        for layer in self.encoder:
            x = layer(x, mask=keep)
        return self.encoder_norm(x), keep

    def encode(
        self, source: Int[Tensor, "batch src_len"], lengths: Int[Tensor, " batch"]
    ) -> list[Sums]:
        """Source tokens → what each decoder layer needs to know of them."""
        x, keep = self.read(source, lengths)
        return [layer.cross_attention.summed(x, keep) for layer in self.decoder]  # type: ignore[operator,union-attr]

    def forward(
        self,
        source: Int[Tensor, "batch src_len"],
        source_lengths: Int[Tensor, " batch"],
        target: Int[Tensor, "batch tgt_len"],
    ) -> Float[Tensor, "batch tgt_len vocab"]:
        """Teacher-forced logits: position t sees target tokens 0..t."""
        x = self.embed(target, slice(target.shape[1]))
        contexts = self.encode(source, source_lengths)
        for layer, context in zip(self.decoder, contexts, strict=True):
            x = layer(x, context=context)
        return self.project(x)

    def explain(
        self,
        source: Int[Tensor, "batch src_len"],
        source_lengths: Int[Tensor, " batch"],
        target: Int[Tensor, "batch tgt_len"],
    ) -> Float[Tensor, "batch layers heads tgt_len src_len"]:
        """Where in the source position t attends, which foretells target token t + 1."""
        read, keep = self.read(source, source_lengths)
        x = self.embed(target, slice(target.shape[1]))
        seen = []
        for layer in self.decoder:
            assert isinstance(layer, DecoderLayer)
            cross = layer.cross_attention
            x = layer.self_attended(x)
            asked = layer.before(layer.cross_attention_norm, x)
            seen.append(cross.attention_weights(asked, read, keep))
            x = layer.source_attended(x, context=cross.summed(read, keep))
        return torch.stack(seen, dim=1)

    def step(
        self,
        tokens: Int[Tensor, "batch 1"],
        past_lengths: Int[Tensor, " batch"],
        contexts: Sequence[Sums],
        states: Sequence[Sums],
    ) -> tuple[Float[Tensor, "batch vocab"], list[Sums]]:
        """One decoding step; the rows may have pasts of different lengths."""
        x = self.embed(tokens, past_lengths[:, None])
        after = []
        for layer, context, state in zip(self.decoder, contexts, states, strict=True):
            x, changed = layer.step(x, state=state, context=context)  # type: ignore[operator]
            after.append(changed)
        return self.project(x[:, 0]), after


def build(config: Config) -> LinearAttention:
    return LinearAttention(config)


RECIPES = {
    "multi30k-linear-attention": Recipe(
        preset="small",
        dataset="multi30k",
        task="translation",
        data={"batch_tokens": 3_072, "vocab": 4_000},
        steps=1_000,
        decay_share=0.7,
        learning_rate=3e-3,
        warmup_steps=100,
        evaluate_every_steps=100,
    ),
}


class _Encoder(nn.Module):
    """The graph `encoder`: see service/contract.py, `encoded`. Rows begin with empty sums."""

    def __init__(self, model: LinearAttention) -> None:
        super().__init__()
        self.model = model

    def forward(self, source: Tensor, source_lengths: Tensor) -> tuple[Tensor, ...]:
        contexts = self.model.encode(source, source_lengths)
        return *contexts, *(torch.zeros_like(context) for context in contexts)


class _DecoderStep(nn.Module):
    """The graph `decoder`: one step of all rows. That a source is padded is in its sums already."""

    def __init__(self, model: LinearAttention) -> None:
        super().__init__()
        self.model = model

    def forward(
        self,
        tokens: Tensor,
        past_lengths: Tensor,
        source_lengths: Tensor,  # noqa: ARG002
        *sums: Tensor,
    ) -> tuple[Tensor, ...]:
        contexts, states = sums[: len(sums) // 2], sums[len(sums) // 2 :]
        logits, after = self.model.step(tokens, past_lengths, contexts, states)
        return logits, *after


def graphs(model: LinearAttention) -> tuple[Graph, Graph, Graph]:
    """Encoder, decoding step and attention, with cases of mixed lengths, padded and not."""
    config = model.config
    head_dim = config.width // config.heads
    numbers = range(config.decoder_layers)

    def sums(batch: int, length: int) -> Tensor:
        """Of random keys and values, of which the weights are positive."""
        key, value = torch.randn(2, batch, config.heads, length, head_dim)
        return summed(key, value)

    def kept(batch: int, src_len: int, past_len: int, **_: int) -> dict[str, Tensor]:
        contexts = {f"context_{layer}": sums(batch, src_len) for layer in numbers}
        return contexts | {f"state_{layer}": sums(batch, past_len - 1) for layer in numbers}

    return (
        encoder_graph(
            _Encoder(model),
            vocab=config.vocab,
            outputs=[f"{kind}_{layer}" for kind in ("context", "state") for layer in numbers],
        ),
        decoder_graph(
            _DecoderStep(model),
            vocab=config.vocab,
            kept=kept,
            outputs=["logits", *(f"next_state_{layer}" for layer in numbers)],
        ),
        aligning(model, CONTRACT["attention"], source_vocab=config.vocab, vocab=config.vocab),
    )


TOLERANCE = 2e-5


def attentions(_: Config) -> dict[str, Attentions]:
    """None that a target has an op for, and no softmax: linear attention is a few products."""
    return dict.fromkeys(["encoder", "decoder", "attention"], Attentions())
