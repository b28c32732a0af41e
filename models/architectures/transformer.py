"""source token ids → target token ids: the encoder-decoder Transformer, for translation.

Source: Vaswani et al. 2017, "Attention Is All You Need". What is trained here has pre-norm blocks,
a deep encoder and a shallow decoder (Kasai et al. 2021, "Deep Encoder, Shallow Decoder": the
decoder runs once a token, the encoder once a sentence), and one embedding for source, target and
output. The options of `Config` make it the models of Marian, BART, M2M100 and T5.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from models.explain import aligning, watching
from models.graph import (
    Attentions,
    Graph,
    decoding_step_inputs,
    decoding_step_outputs,
    layer_names,
)
from models.layers import (
    Cache,
    CrossAttention,
    DecoderLayer,
    EncoderLayer,
    Mask,
    Memory,
    flat,
    keep_mask,
    pairs,
    sinusoidal_positions,
)
from models.recipe import Recipe
from models.score import IGNORE, sums
from models.sides import Points, Positioned, Side
from models.translator import decoder_graph, encoder_graph
from service.tasks.translation import CONTRACT

LABEL_SMOOTHING = 0.1


@dataclass(frozen=True, kw_only=True)
class Config(Positioned):
    """Sizes of the model."""

    vocab: int
    source_vocab: int | None = None
    """Of a source embedding of its own; one serves both sides if not set."""
    hidden: int
    encoder_layers: int
    decoder_layers: int
    dropout: float = 0.1
    scaled_embedding: bool = True
    """Embeddings times the square root of the width (Vaswani et al. 2017, 3.4)."""
    tied_output: bool = True
    """The embedding is the output projection too (Press and Wolf 2017)."""
    output_bias: bool = False


_SMALL = Config(
    vocab=4_000,
    width=256,
    heads=4,
    hidden=512,
    encoder_layers=3,
    decoder_layers=2,
    dropout=0.2,
)
PRESETS = {
    "testing": Config(
        vocab=64,
        width=32,
        heads=2,
        hidden=64,
        encoder_layers=2,
        decoder_layers=2,
        max_len=32,
        dropout=0.0,
    ),
    "small": _SMALL,
    "rotary": replace(_SMALL, positions="rotary"),
    "base": Config(
        vocab=8_000,
        width=256,
        heads=4,
        hidden=1_024,
        encoder_layers=5,
        decoder_layers=2,
    ),
}


class Transformer(nn.Module):
    """Encoder and decoder, over one shared vocabulary or two."""

    positions: Tensor

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        width = config.width
        sizes = (width, config.heads, config.hidden, config.dropout, config)
        self.embedding = nn.Embedding(config.vocab, width)
        if config.source_vocab:
            self.source_embedding = nn.Embedding(config.source_vocab, width)
        self.source_side = Side(config, layers=config.encoder_layers, both_ways=True)
        self.target_side = Side(config, layers=config.decoder_layers, both_ways=False)
        self.encoder = nn.ModuleList(EncoderLayer(*sizes) for _ in range(config.encoder_layers))
        self.decoder = nn.ModuleList(DecoderLayer(*sizes) for _ in range(config.decoder_layers))
        if config.norm_first:
            self.encoder_norm = config.make_norm(width)
            self.decoder_norm = config.make_norm(width)
        if not config.tied_output:
            self.output = nn.Linear(width, config.vocab, bias=False)
        if config.output_bias:
            self.output_bias = nn.Parameter(torch.zeros(config.vocab))
        if config.positions == "sinusoidal":
            positions = sinusoidal_positions(config.max_len, width)
            self.register_buffer("positions", positions, persistent=False)
        nn.init.normal_(self.embedding.weight, std=width**-0.5)

    def embed(
        self,
        tokens: Int[Tensor, "batch len"],
        positions: Int[Tensor, "batch len"] | slice,
        *,
        source: bool = False,
    ) -> Float[Tensor, "batch len width"]:
        config, side = self.config, self.source_side if source else self.target_side
        own = source and config.source_vocab
        x: Tensor = (self.source_embedding if own else self.embedding)(tokens)
        if config.scaled_embedding:
            x = x * math.sqrt(config.width)
        if config.positions in ("sinusoidal", "learned"):
            table = self.positions if config.positions == "sinusoidal" else side.positions
            x = x + table[positions]
        if config.embedding_norm:
            x = side.norm(x)
        return functional.dropout(x, config.dropout, self.training)

    def encode(
        self,
        source: Int[Tensor, "batch src_len"],
        lengths: Int[Tensor, " batch"],
        points: Points = None,
    ) -> list[Memory]:
        """Source tokens → the cross-attention keys and values of every decoder layer."""
        mask: Mask = keep_mask(lengths, source.shape[1])
        x = self.embed(source, slice(source.shape[1]), source=True)
        told = self.source_side.whole(x, points)
        if told.bias is not None:
            mask = torch.where(mask, told.bias, torch.finfo(told.bias.dtype).min / 2)
        for number, layer in enumerate(self.encoder):
            x = layer(told.before(number, x), mask=mask, rotation=told.rotation)
        if self.config.norm_first:
            x = self.encoder_norm(x)
        return [layer.cross_attention.keys_values(x) for layer in self.decoder]  # type: ignore[operator,union-attr]

    def project(self, x: Float[Tensor, "*positions width"]) -> Float[Tensor, "*positions vocab"]:
        config = self.config
        if config.norm_first:
            x = self.decoder_norm(x)
        weight = self.embedding.weight if config.tied_output else self.output.weight
        return functional.linear(x, weight, self.output_bias if config.output_bias else None)

    def forward(
        self,
        source: Int[Tensor, "batch src_len"],
        source_lengths: Int[Tensor, " batch"],
        target: Int[Tensor, "batch tgt_len"],
        points: tuple[Points, Points] = (None, None),
    ) -> Float[Tensor, "batch tgt_len vocab"]:
        """Teacher-forced logits: position t sees target tokens 0..t."""
        mask = keep_mask(source_lengths, source.shape[1])
        memories = self.encode(source, source_lengths, points[0])
        x = self.embed(target, slice(target.shape[1]))
        told, bias = self.target_side.whole(x, points[1]), None
        if told.bias is not None:
            positions = torch.arange(target.shape[1], device=target.device)
            bias = told.bias.masked_fill(positions[:, None] < positions[None, :], -math.inf)
        for number, layer in enumerate(self.decoder):
            x = layer(
                told.before(number, x),
                memory=memories[number],
                memory_mask=mask,
                bias=bias,
                rotation=told.rotation,
            )
        return self.project(x)

    def explain(
        self,
        source: Int[Tensor, "batch src_len"],
        source_lengths: Int[Tensor, " batch"],
        target: Int[Tensor, "batch tgt_len"],
        points: tuple[Points, Points] = (None, None),
    ) -> Float[Tensor, "batch layers heads tgt_len src_len"]:
        """Where in the source position t attends, which foretells target token t + 1."""
        with watching(self.decoder, CrossAttention) as seen:
            self(source, source_lengths, target, points)
        return torch.stack(seen, dim=1)

    def step(
        self,
        tokens: Int[Tensor, "batch 1"],
        past_lengths: Int[Tensor, " batch"],
        source_lengths: Int[Tensor, " batch"],
        memories: Sequence[Memory],
        caches: Sequence[Cache],
        points: Points = None,
    ) -> tuple[Float[Tensor, "batch vocab"], list[Memory], list[Cache]]:
        """One decoding step; the rows may have pasts of different lengths."""
        x = self.embed(tokens, past_lengths[:, None])
        told = self.target_side.at(past_lengths, max_len=caches[0][0].shape[2], points=points)
        kept, presents = [], []
        for number, layer in enumerate(self.decoder):
            x, present, same = layer.step(  # type: ignore[operator]
                told.before(number, x),
                cache=caches[number],
                past_lengths=past_lengths,
                memory=memories[number],
                memory_lengths=source_lengths,
                bias=told.bias,
                rotation=told.rotation,
            )
            kept.append(same)
            presents.append(present)
        return self.project(x[:, 0]), kept, presents


def build(config: Config) -> Transformer:
    return Transformer(config)


def loss(model: nn.Module, batch: dict[str, Tensor]) -> Float[Tensor, ""]:
    """Cross entropy of the next token with label smoothing (Vaswani et al. 2017, 5.4)."""
    logits = model(batch["source"], batch["source_lengths"], batch["target"])
    return functional.cross_entropy(
        logits.flatten(0, 1).float(),
        batch["labels"].flatten(),
        ignore_index=IGNORE,
        label_smoothing=LABEL_SMOOTHING,
    )


def score(model: nn.Module, batch: dict[str, Tensor]) -> dict[str, float]:
    """Over the target tokens of a dev batch, without label smoothing."""
    return sums(model(batch["source"], batch["source_lengths"], batch["target"]), batch["labels"])


RECIPES = {
    "translation": Recipe(
        preset="base",
        dataset="tatoeba",
        data={"batch_tokens": 6_144, "vocab": 8_000, "en-de": 2, "en-fr": 4},
        steps=3_800,
        decay_share=0.48,
        learning_rate=2e-3,
        warmup_steps=200,
        evaluate_every_steps=250,
    ),
    "multi30k": Recipe(
        preset="rotary",
        dataset="multi30k",
        task="translation",
        data={"batch_tokens": 3_072, "vocab": 4_000},
        steps=2_800,
        decay_share=0.7,
        learning_rate=3e-3,
        warmup_steps=150,
        evaluate_every_steps=200,
    ),
    "smoke": Recipe(
        preset="testing",
        dataset="reversal",
        data={"batch_size": 64},
        steps=300,
        learning_rate=1e-2,
        warmup_steps=20,
        bf16=False,
        evaluate_every_steps=100,
    ),
}


class _Encoder(nn.Module):
    """The graph `encoder`: see service/tasks/translation.py, CONTRACT."""

    source_points: Points

    def __init__(self, model: Transformer) -> None:
        super().__init__()
        self.model = model
        self.register_buffer("source_points", model.source_side.solved())

    def forward(self, source: Tensor, source_lengths: Tensor) -> tuple[Tensor, ...]:
        return flat(self.model.encode(source, source_lengths, self.source_points))


class _DecoderStep(nn.Module):
    """The graph `decoder`: one step of all rows."""

    target_points: Points

    def __init__(self, model: Transformer) -> None:
        super().__init__()
        self.model = model
        self.register_buffer("target_points", model.target_side.solved())

    def forward(
        self, tokens: Tensor, past_lengths: Tensor, source_lengths: Tensor, *layers: Tensor
    ) -> tuple[Tensor, ...]:
        memories, caches = pairs(layers[: len(layers) // 2]), pairs(layers[len(layers) // 2 :])
        logits, kept, presents = self.model.step(
            tokens, past_lengths, source_lengths, memories, caches, self.target_points
        )
        return logits, *flat(kept), *flat(presents)


class _Alignment(nn.Module):
    """What the graph `attention` is made from."""

    source_points: Points
    target_points: Points

    def __init__(self, model: Transformer) -> None:
        super().__init__()
        self.model = model
        self.register_buffer("source_points", model.source_side.solved())
        self.register_buffer("target_points", model.target_side.solved())

    def explain(self, source: Tensor, source_lengths: Tensor, tokens: Tensor) -> Tensor:
        points = self.source_points, self.target_points
        return self.model.explain(source, source_lengths, tokens, points)


def graphs(model: Transformer) -> tuple[Graph, Graph, Graph]:
    """Encoder, decoding step and attention, with cases of mixed lengths, padded and not."""
    config = model.config
    source_vocab = config.source_vocab or config.vocab
    names = layer_names(config.decoder_layers)

    def kept(batch: int, src_len: int, max_len: int, **_: int) -> dict[str, Tensor]:
        return decoding_step_inputs(config, batch=batch, src_len=src_len, max_len=max_len)

    return (
        encoder_graph(
            _Encoder(model), vocab=source_vocab, outputs=[f"cross_{name}" for name in names]
        ),
        decoder_graph(
            _DecoderStep(model),
            vocab=config.vocab,
            kept=kept,
            outputs=decoding_step_outputs(names),
        ),
        aligning(
            _Alignment(model), CONTRACT["attention"], source_vocab=source_vocab, vocab=config.vocab
        ),
    )


TOLERANCE = 2e-5


def attentions(config: Config) -> dict[str, Attentions]:
    """One per encoder layer; two per decoder layer, to the past and to the source; the last of
    these gives nothing that tells of attention."""
    return {
        "encoder": Attentions(whole=config.encoder_layers),
        "decoder": Attentions(cached=2 * config.decoder_layers),
        "attention": Attentions(whole=config.encoder_layers + 2 * config.decoder_layers - 1),
    }
