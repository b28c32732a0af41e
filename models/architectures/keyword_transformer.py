"""log-mel frames → class logits: the keyword transformer, for audio classification.

Source: Berg et al. 2021, "Keyword Transformer: A Self-Attention Model for Keyword Spotting", with
pre-norm blocks, convolutions over time and frequency that quarter both (Dong et al. 2018, "Speech-
Transformer", 3.3), and the mean of the positions in place of a class token, so that attention may
be truncated to a window and still nothing is unheard.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

from models.datasets import Batch
from models.explain import by_head, explaining, mean_of_first, rollout, watching
from models.graph import Attentions, Graph, classifier
from models.layers import EncoderLayer
from models.recipe import Recipe
from models.score import sums
from service.tasks.audio_classification import CONTRACT, FRAMES, MELS

LABEL_SMOOTHING = 0.1
TEACHER_SHARE = 0.7
"""How much of the loss comes from the teacher's probabilities, where the batch holds them."""


@dataclass(frozen=True)
class Config:
    """Sizes of the model; the first convolution makes `channels`, the second twice as many.

    With a `window`, a position attends only to those at most so many positions (of 40 ms) away.
    """

    classes: int
    width: int
    heads: int
    hidden: int
    layers: int
    channels: int
    mels: int = MELS
    frames: int = FRAMES
    window: int | None = None
    dropout: float = 0.1

    @property
    def positions(self) -> int:
        """Frames left by the stem."""
        return (self.frames + 3) // 4


PRESETS = {
    "testing": Config(classes=4, width=32, heads=2, hidden=64, layers=2, channels=8, dropout=0.0),
    "base": Config(classes=12, width=128, heads=4, hidden=512, layers=4, channels=32),
}


def window_mask(positions: int, window: int) -> Bool[Tensor, "1 1 positions positions"]:
    """True where query and key are at most `window` positions apart."""
    places = torch.arange(positions)
    return ((places[:, None] - places[None, :]).abs() <= window)[None, None]


class Stem(nn.Module):
    """Two 3x3 convolutions with stride 2 over time and frequency, and a projection to `width`."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        first, second = config.channels, 2 * config.channels
        self.convolutions = nn.Sequential(
            nn.Conv2d(1, first, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(first),
            nn.GELU(),
            nn.Conv2d(first, second, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(second),
            nn.GELU(),
        )
        self.out = nn.Linear(second * ((config.mels + 3) // 4), config.width)

    def forward(
        self, features: Float[Tensor, "batch frames mels"]
    ) -> Float[Tensor, "batch positions width"]:
        x = self.convolutions(features[:, None])
        positions: Tensor = self.out(x.transpose(1, 2).flatten(2))
        return positions


class KeywordTransformer(nn.Module):
    """The stem, then self-attention between positions of 40 ms."""

    mask: Tensor | None

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.stem = Stem(config)
        self.positions = nn.Parameter(torch.randn(1, config.positions, config.width) * 0.02)
        self.layers = nn.ModuleList(
            EncoderLayer(config.width, config.heads, config.hidden, config.dropout)
            for _ in range(config.layers)
        )
        self.norm = nn.LayerNorm(config.width)
        self.head = nn.Linear(config.width, config.classes)
        mask = None if config.window is None else window_mask(config.positions, config.window)
        self.register_buffer("mask", mask, persistent=False)

    def encode(
        self, features: Float[Tensor, "batch frames mels"]
    ) -> Float[Tensor, "batch positions width"]:
        x = self.stem(features) + self.positions
        for layer in self.layers:
            x = layer(x, mask=self.mask)
        encoded: Tensor = self.norm(x)
        return encoded

    def forward(
        self, features: Float[Tensor, "batch frames mels"]
    ) -> Float[Tensor, "batch classes"]:
        logits: Tensor = self.head(self.encode(features).mean(dim=1))
        return logits

    def explain(
        self, features: Float[Tensor, "batch frames mels"]
    ) -> tuple[
        Float[Tensor, "batch classes"],
        Float[Tensor, "batch positions"],
        Float[Tensor, "batch layers heads positions"],
    ]:
        """Logits, and how much of each position is in them: by all layers, and by each head."""
        with watching(self) as layers:
            logits = self(features)
        read = mean_of_first(self.config.positions, layers)
        return logits, rollout(layers, read), by_head(layers, read)


def build(config: Config) -> KeywordTransformer:
    return KeywordTransformer(config)


def loss(model: nn.Module, batch: Batch) -> Float[Tensor, ""]:
    """Cross entropy to the labels, mixed with that to the teacher (Hinton et al. 2015).

    `labels` and `teacher` are probabilities of each class.
    """
    logits = model(batch["features"]).float()
    labelled = functional.cross_entropy(logits, batch["labels"], label_smoothing=LABEL_SMOOTHING)
    if "teacher" not in batch:
        return labelled
    taught = functional.cross_entropy(logits, batch["teacher"])
    return TEACHER_SHARE * taught + (1 - TEACHER_SHARE) * labelled


def score(model: nn.Module, batch: Batch) -> dict[str, float]:
    """Over a dev batch of clips, without label smoothing."""
    return sums(model(batch["features"]), batch["labels"].argmax(-1))


def graphs(model: KeywordTransformer) -> tuple[Graph, Graph]:
    """The whole model, and its attention; its input always has one second of frames."""
    config = model.config
    axes = (config.frames, config.mels)
    (graph,) = classifier(model, CONTRACT["model"], "features", axes, (3, 1, 8))
    return graph, explaining(graph, CONTRACT["attention"])


def attentions(config: Config) -> dict[str, Attentions]:
    """One per layer."""
    every = Attentions(whole=config.layers)
    return {"model": every, "attention": every}


TOLERANCE = 1e-5
RECIPES = {
    "audio-classification": Recipe(
        preset="base",
        dataset="speech_commands",
        data={"batch_size": 128, "passes": 10, "teacher": 1},
        steps=2_400,
        learning_rate=2e-3,
        warmup_steps=100,
        decay_share=0.8,
        weight_decay=0.05,
        evaluate_every_steps=100,
    ),
}
