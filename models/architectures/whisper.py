"""log-mel features, tokens so far → logits of the next token: Whisper, for speech recognition.

A graph beside says where each token was heard: the cross-attention of a few heads follows speech.

Source: Radford et al. 2022, "Robust Speech Recognition via Large-Scale Weak Supervision", 2.2, and
the released checkpoints: two convolutions in front of a pre-norm Transformer, fixed sinusoidal
positions in the encoder, learned ones in the decoder, one embedding for input and output.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from models.datasets import Batch
from models.explain import watching
from models.folding import fold, unfold
from models.graph import (
    Attentions,
    Graph,
    decoding_step_inputs,
    decoding_step_outputs,
    layer_names,
    written_cache,
)
from models.layers import (
    Cache,
    CrossAttention,
    DecoderLayer,
    EncoderLayer,
    Memory,
    flat,
    pairs,
    sinusoidal_positions,
)
from models.recipe import Recipe
from models.score import IGNORE, sums
from service.tasks.automatic_speech_recognition import CONTRACT


@dataclass(frozen=True)
class Config:
    """Sizes of the model; `frames` is the length of its input, `max_len` bounds text in tokens."""

    vocab: int
    width: int
    heads: int
    hidden: int
    encoder_layers: int
    decoder_layers: int
    mels: int = 80
    frames: int = 3_000
    max_len: int = 448
    alignment_heads: Sequence[Sequence[int]] = ()
    """Layer and head, from 0, of those whose cross-attention follows the speech."""

    @property
    def aligning(self) -> dict[int, list[int]]:
        """Decoder layer → its heads that are looked at; where none is stated, the upper half of
        the layers with all heads, as in OpenAI's reference."""
        upper = range(self.decoder_layers // 2, self.decoder_layers)
        every = [(layer, head) for layer in upper for head in range(self.heads)]
        found: dict[int, list[int]] = {}
        for layer, head in sorted(map(tuple, self.alignment_heads or every)):
            found.setdefault(layer, []).append(head)
        return found

    @property
    def src_len(self) -> int:
        """Encoder positions: the second convolution halves the frames."""
        return self.frames // 2


PRESETS = {
    "testing": Config(
        vocab=2_048, width=32, heads=2, hidden=64, encoder_layers=2, decoder_layers=2
    ),
    "tiny.en": Config(
        vocab=51_864, width=384, heads=6, hidden=1_536, encoder_layers=4, decoder_layers=4
    ),
    "base": Config(
        vocab=51_865, width=512, heads=8, hidden=2_048, encoder_layers=6, decoder_layers=6
    ),
}


class Whisper(nn.Module):
    """Audio encoder and text decoder.

    The key projections of the released checkpoints have no bias: here it is zero.
    """

    encoder_positions: Tensor

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        width = config.width
        sizes = (width, config.heads, config.hidden, 0.0)
        self.stem = nn.Sequential(
            nn.Conv1d(config.mels, width, 3, padding=1),
            nn.GELU(),
            nn.Conv1d(width, width, 3, stride=2, padding=1),
            nn.GELU(),
        )
        self.encoder = nn.ModuleList(EncoderLayer(*sizes) for _ in range(config.encoder_layers))
        self.encoder_norm = nn.LayerNorm(width)
        self.embedding = nn.Embedding(config.vocab, width)
        self.decoder_positions = nn.Parameter(torch.randn(config.max_len, width) * 0.02)
        self.decoder = nn.ModuleList(DecoderLayer(*sizes) for _ in range(config.decoder_layers))
        self.decoder_norm = nn.LayerNorm(width)
        # Kept in checkpoints, because the released ones hold it rounded to float16.
        self.register_buffer("encoder_positions", sinusoidal_positions(config.src_len, width))
        nn.init.normal_(self.embedding.weight, std=width**-0.5)

    def encode(
        self,
        features: Float[Tensor, "batch mels frames"],
        begins: Int[Tensor, " groups"] | None = None,
    ) -> list[Memory]:
        """Features → the cross-attention keys and values of every decoder layer.

        Positions from one of `begins` to the next are encoded as one.
        """
        x, positions, bias = self.stem(features).transpose(1, 2), self.encoder_positions, None
        length = self.config.src_len
        if begins is not None:
            places, bias = fold(begins, length, x.dtype)
            x, positions = x.index_select(1, places), positions.index_select(0, places)
        x = x + positions
        for layer in self.encoder:
            x = layer(x, mask=bias)
        x = self.encoder_norm(x)
        memories = [layer.cross_attention.keys_values(x) for layer in self.decoder]  # type: ignore[operator,union-attr]
        if begins is None:
            return memories
        return [(unfold(k, begins, length), unfold(v, begins, length)) for k, v in memories]

    def project(self, x: Float[Tensor, "*positions width"]) -> Float[Tensor, "*positions vocab"]:
        return functional.linear(self.decoder_norm(x), self.embedding.weight)

    def forward(
        self,
        features: Float[Tensor, "batch mels frames"],
        target: Int[Tensor, "batch tgt_len"],
    ) -> Float[Tensor, "batch tgt_len vocab"]:
        """Teacher-forced logits: position t sees target tokens 0..t."""
        x = self.embedding(target) + self.decoder_positions[: target.shape[1]]
        for layer, memory in zip(self.decoder, self.encode(features), strict=True):
            x = layer(x, memory=memory)
        return self.project(x)

    def align(
        self,
        features: Float[Tensor, "batch mels frames"],
        target: Int[Tensor, "batch tgt_len"],
    ) -> Float[Tensor, "batch some_heads tgt_len src_len"]:
        """Cross-attention weights of the aligning heads: where position t, which foretells token
        t + 1, listens."""
        with watching(self.decoder, CrossAttention) as seen:
            self(features, target)
        found = [seen[layer][:, heads] for layer, heads in self.config.aligning.items()]
        return torch.cat(found, dim=1)

    def step(
        self,
        tokens: Int[Tensor, "batch 1"],
        past_lengths: Int[Tensor, " batch"],
        memories: Sequence[Memory],
        caches: Sequence[Cache],
    ) -> tuple[Float[Tensor, "batch vocab"], list[Memory], list[Cache]]:
        """One decoding step; the rows may have pasts of different lengths."""
        x = self.embedding(tokens) + self.decoder_positions[past_lengths][:, None]
        lengths = torch.full_like(past_lengths, memories[0][0].shape[2])
        kept, presents = [], []
        for layer, memory, cache in zip(self.decoder, memories, caches, strict=True):
            x, present, same = layer.step(  # type: ignore[operator]
                x, cache=cache, past_lengths=past_lengths, memory=memory, memory_lengths=lengths
            )
            kept.append(same)
            presents.append(present)
        return self.project(x[:, 0]), kept, presents


def build(config: Config) -> Whisper:
    return Whisper(config)


def loss(model: nn.Module, batch: Batch) -> Float[Tensor, ""]:
    """Cross entropy of the next token."""
    logits = model(batch["features"], batch["target"])
    return functional.cross_entropy(
        logits.flatten(0, 1).float(), batch["labels"].flatten(), ignore_index=IGNORE
    )


def score(model: nn.Module, batch: Batch) -> dict[str, float]:
    """Over the target tokens of a dev batch."""
    return sums(model(batch["features"], batch["target"]), batch["labels"])


class _Encoder(nn.Module):
    """The graph `encoder`: see service/tasks/automatic_speech_recognition.py, CONTRACT."""

    def __init__(self, model: Whisper) -> None:
        super().__init__()
        self.model = model

    def forward(self, features: Tensor) -> tuple[Tensor, ...]:
        return flat(self.model.encode(features))


class _Folded(nn.Module):
    """The graph `folded`: as `encoder`, with silence that is encoded in groups."""

    def __init__(self, model: Whisper) -> None:
        super().__init__()
        self.model = model

    def forward(self, begins: Tensor, features: Tensor) -> tuple[Tensor, ...]:
        return flat(self.model.encode(features, begins))


class _DecoderStep(nn.Module):
    """The graph `decoder`: one step of all rows."""

    def __init__(self, model: Whisper) -> None:
        super().__init__()
        self.model = model

    def forward(self, tokens: Tensor, past_lengths: Tensor, *layers: Tensor) -> tuple[Tensor, ...]:
        memories, caches = pairs(layers[: len(layers) // 2]), pairs(layers[len(layers) // 2 :])
        logits, kept, presents = self.model.step(tokens, past_lengths, memories, caches)
        return logits, *flat(kept), *flat(presents)


class _Alignment(nn.Module):
    """The graph `alignment`: where the tokens of whole texts were heard."""

    def __init__(self, model: Whisper) -> None:
        super().__init__()
        self.model = model

    def forward(self, features: Tensor, tokens: Tensor) -> tuple[Tensor, ...]:
        return (self.model.align(features, tokens),)


def graphs(model: Whisper) -> tuple[Graph, ...]:
    """Encoder, whole and folded, decoding step and alignment; what is heard has one length only."""
    config = model.config
    names = layer_names(config.decoder_layers)
    features = CONTRACT["encoder"].inputs["features"]
    axes = ("batch", config.mels, config.frames)

    def encoder_inputs(batch: int) -> dict[str, Tensor]:
        return {"features": torch.randn(batch, config.mels, config.frames)}

    def folded_inputs(batch: int, groups: int) -> dict[str, Tensor]:
        others = 1 + torch.randperm(config.src_len - 1)[: groups - 1].sort().values
        return {"begins": torch.cat([torch.zeros(1, dtype=torch.int64), others]),
                **encoder_inputs(batch)}  # fmt: skip

    def decoder_inputs(batch: int, src_len: int, past_len: int, max_len: int) -> dict[str, Tensor]:
        lengths = [max(0, past_len - 3 * row) for row in range(batch)]
        layers = decoding_step_inputs(config, batch=batch, src_len=src_len, max_len=max_len)
        return {
            "tokens": torch.randint(config.vocab, (batch, 1)),
            "past_lengths": torch.tensor(lengths),
            **layers,
        }

    def alignment_inputs(batch: int, tgt_len: int) -> dict[str, Tensor]:
        tokens = torch.randint(config.vocab, (batch, tgt_len))
        return {**encoder_inputs(batch), "tokens": tokens}

    decoder_cases: list[Mapping[str, int]] = [
        {"batch": 3, "src_len": config.src_len, "past_len": 7, "max_len": 16},
        {"batch": 1, "src_len": config.src_len, "past_len": 0, "max_len": 4},
        {"batch": 5, "src_len": 23, "past_len": 30, "max_len": 31},
    ]
    return (
        Graph(
            name="encoder",
            module=_Encoder(model),
            contract=replace(
                CONTRACT["encoder"], inputs={"features": replace(features, axes=axes)}
            ),
            outputs=[f"cross_{name}" for name in names],
            inputs=encoder_inputs,
            cases=[{"batch": 2}, {"batch": 1}, {"batch": 3}],
        ),
        Graph(
            name="folded",
            module=_Folded(model),
            contract=replace(
                CONTRACT["folded"],
                inputs={**CONTRACT["folded"].inputs, "features": replace(features, axes=axes)},
            ),
            outputs=[f"cross_{name}" for name in names],
            inputs=folded_inputs,
            cases=[{"batch": 2, "groups": 600}, {"batch": 1, "groups": 450}],
        ),
        Graph(
            name="decoder",
            module=_DecoderStep(model),
            contract=CONTRACT["decoder"],
            outputs=decoding_step_outputs(names),
            inputs=decoder_inputs,
            cases=decoder_cases,
            defined=written_cache,
        ),
        Graph(
            name="alignment",
            module=_Alignment(model),
            contract=replace(
                CONTRACT["alignment"],
                inputs={**CONTRACT["alignment"].inputs, "features": replace(features, axes=axes)},
            ),
            outputs=["weights"],
            inputs=alignment_inputs,
            cases=[{"batch": 2, "tgt_len": 9}, {"batch": 1, "tgt_len": 4}],
        ),
    )


TOLERANCE = 5e-5


def attentions(config: Config) -> dict[str, Attentions]:
    """One per encoder layer; two per decoder layer, to the past and to the recording, but the
    alignment's last layer, whose attention to the recording is what is wanted."""
    return {
        "encoder": Attentions(whole=config.encoder_layers),
        "folded": Attentions(whole=config.encoder_layers),
        "decoder": Attentions(cached=2 * config.decoder_layers),
        "alignment": Attentions(whole=config.encoder_layers + 2 * max(config.aligning) + 1),
    }


RECIPES: dict[str, Recipe] = {}
"""None: the weights are imported (models/whisper_weights.py)."""
