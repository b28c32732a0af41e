"""source token ids → target token ids: a layer a side, applied until each token has had enough.

Source: Dehghani et al. 2018, "Universal Transformers", with adaptive computation time in encoder
and decoder (`models/halting.py`). The steps of a side share the weights of its layer. Where and how
far a state is, is added to it before each step, as sines of position and step.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from models.architectures.transformer import LABEL_SMOOTHING
from models.explain import aligning, watching
from models.graph import (
    Attentions,
    Graph,
    head_dim,
    layer_names,
)
from models.halting import Halting, Thought
from models.layers import (
    Block,
    CrossAttention,
    DecoderLayer,
    EncoderLayer,
    Memory,
    keep_mask,
    sinusoidal_positions,
)
from models.recipe import Recipe
from models.score import IGNORE, sums
from models.translator import decoder_graph, encoder_graph
from service.tasks.translation import CONTRACT

Caches = tuple[
    Float[Tensor, "batch heads_of_steps max_len head_dim"],
    Float[Tensor, "batch heads_of_steps max_len head_dim"],
]
"""Keys and values of the positions so far; heads are those of all steps of thought, in order."""
PONDER_COST = 0.01
"""Of a step of one position, in units of the loss."""


@dataclass(frozen=True, kw_only=True)
class Config(Block):
    """Sizes of the model; `max_len` bounds source and target in tokens."""

    vocab: int
    width: int
    heads: int
    hidden: int
    max_steps: int = 6
    halting_threshold: float = 0.99
    """A position halts where its probabilities add up to this."""
    max_len: int = 256
    dropout: float = 0.1


PRESETS = {
    "testing": Config(vocab=64, width=32, heads=2, hidden=64, max_steps=3, max_len=32, dropout=0.0),
    "small": Config(vocab=4_000, width=192, heads=4, hidden=768, dropout=0.2),
}


class UniversalTransformer(nn.Module):
    """Encoder and decoder over one shared vocabulary, one layer each."""

    positions: Tensor
    steps: Tensor

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        width, steps = config.width, config.max_steps
        sizes = (width, config.heads, config.hidden, config.dropout, config)
        self.embedding = nn.Embedding(config.vocab, width)
        self.encoder = EncoderLayer(*sizes)
        self.decoder = DecoderLayer(*sizes)
        threshold = config.halting_threshold
        self.source_halting = Halting(width, max_steps=steps, threshold=threshold)
        self.target_halting = Halting(width, max_steps=steps, threshold=threshold)
        self.encoder_norm = config.make_norm(width)
        self.decoder_norm = config.make_norm(width)
        for name, length in (("positions", config.max_len), ("steps", steps)):
            self.register_buffer(name, sinusoidal_positions(length, width), persistent=False)
        nn.init.normal_(self.embedding.weight, std=width**-0.5)

    def embed(self, tokens: Int[Tensor, "batch len"]) -> Float[Tensor, "batch len width"]:
        embedded: Tensor = self.embedding(tokens) * math.sqrt(self.config.width)
        return embedded

    def step_at(self, step: Int[Tensor, ""]) -> Float[Tensor, "1 width"]:
        return self.steps.index_select(0, step.reshape(1))

    def think(
        self, source: Int[Tensor, "batch src_len"], lengths: Int[Tensor, " batch"]
    ) -> Thought:
        """What the encoder makes of each source token."""
        mask = keep_mask(lengths, source.shape[1])
        positions = self.positions[: source.shape[1]]

        def refine(_: Tensor, state: Tensor) -> tuple[Tensor]:
            return (self.encoder(state, mask=mask),)

        found: Thought = self.source_halting(
            self.embed(source),
            counts=mask[:, 0, 0],
            coordinates=lambda step: positions + self.step_at(step),
            refine=refine,
        )
        return found

    def memory(self, thought: Thought) -> Memory:
        """The keys and values of what was thought, the same at every step of the decoder."""
        key, value = self.decoder.cross_attention.keys_values(self.encoder_norm(thought.output))
        # A traced loop takes no two views of one tensor.
        return key.clone(), value.clone()

    def project(self, x: Float[Tensor, "*positions width"]) -> Float[Tensor, "*positions vocab"]:
        return functional.linear(self.decoder_norm(x), self.embedding.weight)

    def thoughts(
        self,
        source: Int[Tensor, "batch src_len"],
        source_lengths: Int[Tensor, " batch"],
        target: Int[Tensor, "batch tgt_len"],
        taken: tuple[Float[Tensor, "batch steps tgt_len width"], ...] = (),
    ) -> tuple[Thought, Thought]:
        """What becomes of source and target, teacher-forced: position t sees targets 0..t.

        What is given as `taken` is carried, and becomes the states that the steps took.
        """
        of_source = self.think(source, source_lengths)
        memory = self.memory(of_source)
        mask = keep_mask(source_lengths, source.shape[1])
        positions = self.positions[: target.shape[1]]
        depths = torch.arange(self.config.max_steps, device=target.device)[:, None, None]

        def refine(step: Tensor, state: Tensor, *taken: Tensor) -> tuple[Tensor, ...]:
            refined = self.decoder(state, memory=memory, memory_mask=mask)
            return refined, *(torch.where(depths == step, state[:, None], each) for each in taken)

        of_target = self.target_halting(
            self.embed(target),
            counts=torch.ones_like(target, dtype=torch.bool),
            coordinates=lambda step: positions + self.step_at(step),
            refine=refine,
            carried=taken,
        )
        return of_source, of_target

    def forward(
        self,
        source: Int[Tensor, "batch src_len"],
        source_lengths: Int[Tensor, " batch"],
        target: Int[Tensor, "batch tgt_len"],
    ) -> Float[Tensor, "batch tgt_len vocab"]:
        """Teacher-forced logits."""
        return self.project(self.thoughts(source, source_lengths, target)[1].output)

    def explain(
        self,
        source: Int[Tensor, "batch src_len"],
        source_lengths: Int[Tensor, " batch"],
        target: Int[Tensor, "batch tgt_len"],
    ) -> tuple[
        Float[Tensor, "batch steps heads tgt_len src_len"],
        Int[Tensor, "batch src_len"],
        Int[Tensor, "batch tgt_len"],
    ]:
        """Where in the source position t attends, which foretells target token t + 1, at each step;
        and the steps that source and target took. One that has halted attends to nothing."""
        depths = torch.arange(self.config.max_steps, device=target.device)[:, None, None]
        taken = self.embed(target)[:, None].expand(-1, len(depths), -1, -1)
        of_source, of_target = self.thoughts(source, source_lengths, target, (taken.clone(),))
        memory = self.memory(of_source)
        mask = keep_mask(source_lengths, source.shape[1])
        with watching(self.decoder, CrossAttention) as seen:
            for states in of_target.carried[0].unbind(1):
                self.decoder(states, memory=memory, memory_mask=mask)
        running = (depths < of_target.steps[:, None, None])[:, :, :, :, None]
        weights = torch.where(running, torch.stack(seen, dim=1), 0)
        return weights, of_source.steps, of_target.steps

    def step(
        self,
        tokens: Int[Tensor, "batch 1"],
        past_lengths: Int[Tensor, " batch"],
        source_lengths: Int[Tensor, " batch"],
        memory: Memory,
        caches: Caches,
    ) -> tuple[Float[Tensor, "batch vocab"], Caches]:
        """One decoding step; a position that has halted shows its last state to those who go on."""
        config, layer = self.config, self.decoder
        depths = torch.arange(config.max_steps, device=tokens.device)[:, None, None]
        by_depth = [each.unflatten(1, (config.max_steps, -1)) for each in caches]  # type: ignore[no-untyped-call]
        positions = self.positions[past_lengths, None]

        def refine(step: Tensor, state: Tensor, *new: Tensor) -> tuple[Tensor, ...]:
            past_key, past_value = (
                each.index_select(1, step.reshape(1)).squeeze(1) for each in by_depth
            )
            out, present, _ = layer.step(
                state,
                cache=(past_key, past_value),
                past_lengths=past_lengths,
                memory=memory,
                memory_lengths=source_lengths,
            )
            here = past_lengths[:, None, None, None].expand_as(present[0][:, :, :1])
            written = (each.gather(2, here).transpose(1, 2) for each in present)
            return out, *(
                torch.where(depths == step, each, all_of)
                for each, all_of in zip(written, new, strict=True)
            )

        empty = torch.zeros_like(by_depth[0][:, :, :, 0])
        thought = self.target_halting(
            self.embed(tokens),
            counts=torch.ones_like(tokens, dtype=torch.bool),
            coordinates=lambda step: positions + self.step_at(step),
            refine=refine,
            carried=(empty, empty.clone()),
        )
        seen = layer.before(layer.self_attention_norm, thought.last)
        final = layer.self_attention.joined(seen, None)[1:]
        after = []
        for past, new, last in zip(caches, thought.carried, final, strict=True):
            halted = last.unflatten(-1, (config.heads, -1))  # type: ignore[no-untyped-call]
            kept = torch.where(depths < thought.longest, new, halted).flatten(1, 2)[:, :, None]
            here = past_lengths[:, None, None, None].expand_as(kept)
            after.append(past.scatter(2, here, kept))
        return self.project(thought.output[:, 0]), (after[0], after[1])


def build(config: Config) -> UniversalTransformer:
    return UniversalTransformer(config)


def loss(model: nn.Module, batch: dict[str, Tensor]) -> Float[Tensor, ""]:
    """Cross entropy with label smoothing, and the mean cost of the steps that tokens took.

    A step costs the same wherever it is taken.
    """
    of: Any = model
    source, target = of.thoughts(batch["source"], batch["source_lengths"], batch["target"])
    given = keep_mask(batch["source_lengths"], batch["source"].shape[1])[:, 0, 0]
    learnt = batch["labels"] != IGNORE
    cost: Tensor = source.cost[given].mean() + target.cost[learnt].mean()
    entropy: Tensor = functional.cross_entropy(
        of.project(target.output).flatten(0, 1).float(),
        batch["labels"].flatten(),
        ignore_index=IGNORE,
        label_smoothing=LABEL_SMOOTHING,
    )
    return entropy + PONDER_COST * cost


def score(model: nn.Module, batch: dict[str, Tensor]) -> dict[str, float]:
    """Over the target tokens of a dev batch, without label smoothing and cost."""
    return sums(model(batch["source"], batch["source_lengths"], batch["target"]), batch["labels"])


RECIPES = {
    "multi30k-universal": Recipe(
        preset="small",
        dataset="multi30k",
        task="translation",
        data={"batch_tokens": 3_072, "vocab": 4_000},
        steps=800,
        decay_share=0.6,
        learning_rate=3e-3,
        evaluate_every_steps=250,
    ),
    "smoke-universal": Recipe(
        preset="testing",
        dataset="reversal",
        data={"batch_size": 64},
        steps=400,
        learning_rate=1e-2,
        warmup_steps=20,
        bf16=False,
        evaluate_every_steps=100,
    ),
}


class _Encoder(nn.Module):
    """The graph `encoder`: see service/tasks/translation.py, CONTRACT."""

    def __init__(self, model: UniversalTransformer) -> None:
        super().__init__()
        self.model = model

    def forward(self, source: Tensor, source_lengths: Tensor) -> tuple[Tensor, ...]:
        return self.model.memory(self.model.think(source, source_lengths))


class _DecoderStep(nn.Module):
    """The graph `decoder`: one step of all rows."""

    def __init__(self, model: UniversalTransformer) -> None:
        super().__init__()
        self.model = model

    def forward(
        self,
        tokens: Tensor,
        past_lengths: Tensor,
        source_lengths: Tensor,
        cross_key: Tensor,
        cross_value: Tensor,
        past_key: Tensor,
        past_value: Tensor,
    ) -> tuple[Tensor, ...]:
        memory, cache = (cross_key, cross_value), (past_key, past_value)
        logits, present = self.model.step(tokens, past_lengths, source_lengths, memory, cache)
        return logits, *present


def graphs(model: UniversalTransformer) -> tuple[Graph, ...]:
    """Encoder, decoding step, and attention with the steps of each token."""
    config = model.config
    names = layer_names(1)

    def kept(batch: int, src_len: int, max_len: int, **_: int) -> dict[str, Tensor]:
        sizes = {
            "cross": (config.heads, src_len),
            "past": (config.heads * config.max_steps, max_len),
        }
        return {
            f"{kind}_{name}": torch.randn(batch, *size, head_dim(config))
            for kind, size in sizes.items()
            for name in names
        }

    return (
        encoder_graph(
            _Encoder(model), vocab=config.vocab, outputs=[f"cross_{name}" for name in names]
        ),
        decoder_graph(
            _DecoderStep(model),
            vocab=config.vocab,
            kept=kept,
            outputs=["logits", *(f"present_{name}" for name in names)],
        ),
        aligning(
            model,
            CONTRACT["attention"],
            source_vocab=config.vocab,
            vocab=config.vocab,
            outputs=["weights", "source_steps", "target_steps"],
        ),
    )


TOLERANCE = 2e-5


def attentions(config: Config) -> dict[str, Attentions]:
    """Of the bodies of the loops: one of the encoder, two of the decoder; and where attention is
    told, the decoder's to itself once more for each step."""
    return {
        "encoder": Attentions(whole=1),
        "decoder": Attentions(cached=2),
        "attention": Attentions(whole=3 + config.max_steps),
    }
