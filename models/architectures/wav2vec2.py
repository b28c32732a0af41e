"""samples → logits of letters for every frame, or of classes: wav2vec 2.0 and HuBERT.

Sources: Baevski et al. 2020, "wav2vec 2.0" (convolutions over samples, positions from a convolution
over frames); Hsu et al. 2021, "HuBERT", which has the same network; Graves et al. 2006,
"Connectionist Temporal Classification"; Yang et al. 2021, "SUPERB" (classes from a weighted sum of
all layers). Whatever stands behind the end of a recording changes nothing in its logits.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

import torch
from jaxtyping import Float, Int
from rapidfuzz.distance import Levenshtein
from torch import Tensor, nn
from torch.nn import functional

from models.datasets import Batch
from models.explain import by_head, explaining, rollout, watching
from models.graph import Attentions, Graph
from models.layers import Block, EncoderLayer, keep_mask
from models.recipe import Recipe
from models.score import sums
from service.kinds import audio_classification_waveform, automatic_speech_recognition_ctc

Frames = Float[Tensor, "batch frames width"]
Channels = Float[Tensor, "batch channels frames"]
Lengths = Int[Tensor, " batch"]
CONTRACTS = {
    "ctc": automatic_speech_recognition_ctc.CONTRACT,
    "waveform": audio_classification_waveform.CONTRACT,
}


@dataclass(frozen=True)
class Config:
    """Sizes of the model; `kernels` and `strides` are those of the convolutions over samples.

    `head` names the graph too: letters for every frame (`ctc`), or classes of the whole recording
    by way of a projection to `projected` (`waveform`).
    """

    classes: int
    width: int
    heads: int
    hidden: int
    layers: int
    channels: tuple[int, ...] = (512,) * 7
    kernels: tuple[int, ...] = (10, 3, 3, 3, 3, 2, 2)
    strides: tuple[int, ...] = (5, 2, 2, 2, 2, 2, 2)
    convolution_bias: bool = False
    norms: Literal["first", "all"] = "first"
    """The first convolution is normed over time, or all of them over channels."""
    position_kernel: int = 128
    position_groups: int = 16
    pre_norm: bool = False
    norm_eps: float = 1e-5
    head: Literal["ctc", "waveform"] = "ctc"
    projected: int = 256
    weighted: bool = False
    """Classes are told from a weighted sum of what all layers give."""

    def frames(self, samples: int) -> int:
        """What the convolutions leave of so many samples."""
        for kernel, stride in zip(self.kernels, self.strides, strict=True):
            samples = (samples - kernel) // stride + 1
        return samples


_SMALL = Config(
    classes=5,
    width=32,
    heads=2,
    hidden=64,
    layers=2,
    channels=(16, 16, 16),
    kernels=(10, 3, 2),
    strides=(5, 2, 2),
    position_kernel=8,
    position_groups=2,
)
PRESETS = {
    "testing": _SMALL,
    "base": Config(classes=32, width=768, heads=12, hidden=3_072, layers=12),
}


class NormOverTime(nn.Module):
    """Every channel with mean 0 and deviation 1 over the frames of its recording."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Channels, lengths: Lengths) -> Channels:
        keep = keep_mask(lengths, x.shape[2])[:, 0].to(x.dtype)
        count = lengths[:, None, None].to(x.dtype)
        apart = x - (x * keep).sum(dim=2, keepdim=True) / count
        variance = (apart * keep).square().sum(dim=2, keepdim=True) / count
        return apart * torch.rsqrt(variance + 1e-5) * self.weight[:, None] + self.bias[:, None]


class NormOverChannels(nn.LayerNorm):
    """Every frame with mean 0 and deviation 1 over its channels."""

    def forward(self, x: Channels, _: Lengths) -> Channels:  # type: ignore[override]
        return super().forward(x.transpose(1, 2)).transpose(1, 2)


class Unchanged(nn.Module):
    """No norm."""

    def forward(self, x: Channels, _: Lengths) -> Channels:
        return x


class Convolution(nn.Module):
    """A convolution without padding, its norm and a GELU."""

    def __init__(self, config: Config, index: int) -> None:
        super().__init__()
        self.kernel, self.stride = config.kernels[index], config.strides[index]
        channels_in, channels = (1, *config.channels)[index : index + 2]
        self.convolution = nn.Conv1d(
            channels_in, channels, self.kernel, self.stride, bias=config.convolution_bias
        )
        first = Unchanged() if index else NormOverTime(channels)
        self.norm = NormOverChannels(channels) if config.norms == "all" else first

    def forward(self, x: Channels, lengths: Lengths) -> tuple[Channels, Lengths]:
        lengths = (lengths - self.kernel) // self.stride + 1
        return functional.gelu(self.norm(self.convolution(x), lengths)), lengths


class Wav2Vec2(nn.Module):
    """Convolutions over samples, self-attention between frames, a head."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        width, eps = config.width, config.norm_eps
        self.stem = nn.ModuleList(Convolution(config, i) for i in range(len(config.kernels)))
        self.features_norm = nn.LayerNorm(config.channels[-1], eps)
        self.features = nn.Linear(config.channels[-1], width)
        kernel = config.position_kernel
        self.positions = nn.Conv1d(
            width, width, kernel, padding=kernel // 2, groups=config.position_groups
        )
        block = Block(norm_first=config.pre_norm, norm_epsilon=eps)
        self.layers = nn.ModuleList(
            EncoderLayer(width, config.heads, config.hidden, 0.0, block)
            for _ in range(config.layers)
        )
        self.norm = nn.LayerNorm(width, eps)
        if config.weighted:
            self.layer_weights = nn.Parameter(torch.zeros(config.layers + 1))
        classified = width
        if config.head == "waveform":
            self.projection = nn.Linear(width, config.projected)
            classified = config.projected
        self.head = nn.Linear(classified, config.classes)

    def encode(
        self, samples: Float[Tensor, "batch samples"], lengths: Lengths
    ) -> tuple[list[Frames], Lengths]:
        """What comes into the layers and what each of them gives; how many frames count."""
        x = samples[:, None]
        for convolution in self.stem:
            x, lengths = convolution(x, lengths)
        x = self.features(self.features_norm(x.transpose(1, 2)))
        keep = keep_mask(lengths, x.shape[1])
        x = x * keep[:, 0, 0, :, None]
        positions = self.positions(x.transpose(1, 2))[:, :, : x.shape[1]].transpose(1, 2)
        x = x + functional.gelu(positions)
        states = [x if self.config.pre_norm else self.norm(x)]
        for layer in self.layers:
            states.append(layer(states[-1], mask=keep))
        return states, lengths

    def forward(
        self, samples: Float[Tensor, "batch samples"], lengths: Lengths
    ) -> Float[Tensor, "batch *frames classes"]:
        """Logits of every frame, or of the recording; `lengths` are those of the samples."""
        return self.classify(*self.encode(samples, lengths))

    def classify(
        self, states: list[Frames], lengths: Lengths
    ) -> Float[Tensor, "batch *frames classes"]:
        if self.config.weighted:
            # As they are, without the norm behind the last of pre-norm layers.
            x = torch.einsum("nbtw,n->btw", torch.stack(states), self.layer_weights.softmax(0))
        else:
            x = self.norm(states[-1]) if self.config.pre_norm else states[-1]
        if self.config.head == "waveform":
            heard = keep_mask(lengths, x.shape[1])[:, 0, 0, :, None].to(x.dtype)
            x = (self.projection(x) * heard).sum(dim=1) / heard.sum(dim=1)
        logits: Tensor = self.head(x)
        return logits

    def explain(
        self, samples: Float[Tensor, "batch samples"], lengths: Lengths
    ) -> tuple[
        Float[Tensor, "batch *frames classes"],
        Float[Tensor, "batch frames"],
        Float[Tensor, "batch layers heads frames"],
        Lengths,
    ]:
        """Logits, how much of each frame is in them, by all layers and by each head, and how many
        frames count. Letters are explained by the mean of their frames, as classes are."""
        with watching(self) as layers:
            states, frames = self.encode(samples, lengths)
        heard = keep_mask(frames, states[0].shape[1])[:, 0, 0].to(states[0].dtype)
        read = heard / heard.sum(dim=1, keepdim=True)
        shares = rollout(layers, read)
        if self.config.weighted:
            depths = [rollout(layers[:depth], read) for depth in range(len(states))]
            shares = torch.einsum("nbt,n->bt", torch.stack(depths), self.layer_weights.softmax(0))
        return self.classify(states, frames), shares, by_head(layers, read), frames


def build(config: Config) -> Wav2Vec2:
    return Wav2Vec2(config)


def letters(model: nn.Module, batch: Batch) -> tuple[Float[Tensor, "batch frames classes"], Tensor]:
    """Logits of every frame, and how many frames of each row count."""
    states, frames = model.encode(batch["samples"], batch["lengths"])  # type: ignore[operator]
    return model.classify(states, frames), frames  # type: ignore[operator]


def _ctc(
    logits: Float[Tensor, "batch frames classes"], frames: Lengths, batch: Batch, reduction: str
) -> Tensor:
    """Of all ways to write the letters in those frames; a text longer than them counts nothing."""
    return functional.ctc_loss(
        logits.float().log_softmax(-1).transpose(0, 1),
        batch["labels"],
        frames,
        batch["label_lengths"],
        blank=int(batch["blank"]),
        reduction=reduction,
        zero_infinity=True,
    )


def loss(model: nn.Module, batch: Batch) -> Float[Tensor, ""]:
    """Of letters CTC, a mean over letters; of classes of whole recordings the cross entropy."""
    if "blank" in batch:
        return _ctc(*letters(model, batch), batch, "mean")
    logits = model(batch["samples"], batch["lengths"])
    return functional.cross_entropy(logits.float(), batch["labels"])


def score(model: nn.Module, batch: Batch) -> dict[str, float]:
    """Over a dev batch of recordings: letters, less those that are wrong, or classes."""
    if "blank" not in batch:
        return sums(model(batch["samples"], batch["lengths"]), batch["labels"].argmax(-1))
    logits, frames = letters(model, batch)
    blank, wrong = int(batch["blank"]), 0
    rows = zip(logits.argmax(-1), frames, batch["labels"], batch["label_lengths"], strict=True)
    for found, heard, said, count in rows:
        written = [each for each, _ in groupby(found[:heard].tolist()) if each != blank]
        wrong += Levenshtein.distance(written, said[:count].tolist())
    letter_count = float(batch["label_lengths"].sum())
    return {
        "count": letter_count,
        "loss": float(_ctc(logits, frames, batch, "sum")),
        "correct": letter_count - wrong,
    }


class _Letters(nn.Module):
    """The graph `ctc`: logits, and how many frames of each row count."""

    def __init__(self, model: Wav2Vec2) -> None:
        super().__init__()
        self.model = model

    def forward(self, samples: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        return letters(self.model, {"samples": samples, "lengths": lengths})

    def explain(self, samples: Tensor, lengths: Tensor) -> tuple[Tensor, ...]:
        return self.model.explain(samples, lengths)


def graphs(model: Wav2Vec2) -> Sequence[Graph]:
    """The whole model, named after its head, and its attention."""
    config = model.config
    letters = config.head == "ctc"

    def inputs(batch: int, samples: int) -> dict[str, Tensor]:
        lengths = torch.tensor([samples - 37 * row for row in range(batch)])
        noise = torch.randn(batch, samples)
        return {"samples": noise * keep_mask(lengths, samples)[:, 0, 0], "lengths": lengths}

    def heard(given: Mapping[str, Tensor], output: str) -> Tensor | None:
        if output != "logits" or not letters:
            return None
        frames = torch.tensor([config.frames(int(length)) for length in given["lengths"]])
        return keep_mask(frames, config.frames(given["samples"].shape[1]))[:, 0, 0, :, None]

    sizes: Sequence[Mapping[str, int]] = (
        {"batch": 3, "samples": 1_600},
        {"batch": 1, "samples": 4_000},
        {"batch": 2, "samples": 2_345},
    )
    contracts = CONTRACTS[config.head]
    whole = Graph(
        name=config.head,
        module=_Letters(model) if letters else model,
        contract=contracts[config.head],
        outputs=["logits", "frames"] if letters else ["logits"],
        inputs=inputs,
        cases=sizes,
        defined=heard,
    )
    return whole, explaining(whole, contracts["attention"])


def attentions(config: Config) -> dict[str, Attentions]:
    """One per layer."""
    every = Attentions(whole=config.layers)
    return {config.head: every, "attention": every}


TOLERANCE = 1e-4
RECIPES: dict[str, Recipe] = {}
"""None: the weights are imported."""
