"""mel frames → class logits: the Audio Spectrogram Transformer, for audio classification.

Source: Gong et al. 2021, "AST: Audio Spectrogram Transformer": overlapping patches of a
spectrogram, the class and distillation tokens of DeiT, whose mean is classified.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from models.datasets import Batch
from models.explain import by_head, explaining, mean_of_first, rollout, watching
from models.graph import Attentions, Graph, classifier
from models.layers import Block, EncoderLayer
from models.recipe import Recipe
from models.score import sums
from models.truncated import Window, window_mask
from service.tasks.audio_classification import CONTRACT


@dataclass(frozen=True)
class Config:
    """Sizes of the model; a patch of `patch` bands and frames begins every stride.

    With a `window`, a patch attends to those that begin at most so many strides before it and
    behind it, of all bands; the learned tokens to all.
    """

    classes: int
    width: int
    heads: int
    hidden: int
    layers: int
    mels: int = 128
    frames: int = 1_024
    patch: int = 16
    frequency_stride: int = 10
    time_stride: int = 10
    norm_eps: float = 1e-12
    window: Window | None = None

    @property
    def bands(self) -> int:
        return (self.mels - self.patch) // self.frequency_stride + 1

    @property
    def times(self) -> int:
        return (self.frames - self.patch) // self.time_stride + 1

    @property
    def patches(self) -> int:
        return self.bands * self.times


PRESETS = {
    "testing": Config(
        classes=3, width=32, heads=2, hidden=64, layers=2, mels=32, frames=46, patch=16
    ),
    "base": Config(classes=527, width=768, heads=12, hidden=3_072, layers=12),
}


class SpectrogramTransformer(nn.Module):
    """Tokens from overlapping patches, two learned ones before them."""

    mask: Tensor | None

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        strides = (config.frequency_stride, config.time_stride)
        self.tokens = nn.Conv2d(1, config.width, config.patch, stride=strides)
        self.learned = nn.Parameter(torch.randn(1, 2, config.width) * 0.02)
        self.positions = nn.Parameter(torch.randn(1, 2 + config.patches, config.width) * 0.02)
        block = Block(norm_epsilon=config.norm_eps)
        self.layers = nn.ModuleList(
            EncoderLayer(config.width, config.heads, config.hidden, 0.0, block)
            for _ in range(config.layers)
        )
        self.norm = nn.LayerNorm(config.width, config.norm_eps)
        self.head_norm = nn.LayerNorm(config.width, config.norm_eps)
        self.head = nn.Linear(config.width, config.classes)
        places, window = torch.arange(config.times).repeat(config.bands), config.window
        mask = None if window is None else window_mask(places, window, learned=2)
        self.register_buffer("mask", mask, persistent=False)

    def forward(
        self, features: Float[Tensor, "batch frames mels"]
    ) -> Float[Tensor, "batch classes"]:
        patches = self.tokens(features.transpose(1, 2)[:, None]).flatten(2).transpose(1, 2)
        x = torch.cat([self.learned.expand(patches.shape[0], -1, -1), patches], dim=1)
        x = x + self.positions
        for layer in self.layers:
            x = layer(x, mask=self.mask)
        pooled = self.norm(x)[:, :2].mean(dim=1)
        logits: Tensor = self.head(self.head_norm(pooled))
        return logits

    def explain(
        self, features: Float[Tensor, "batch frames mels"]
    ) -> tuple[
        Float[Tensor, "batch classes"],
        Float[Tensor, "batch places"],
        Float[Tensor, "batch layers heads places"],
    ]:
        """Logits, and how much the learned tokens have of each place in time, of all its bands."""
        with watching(self) as layers:
            logits = self(features)
        read = mean_of_first(2, layers)
        shares = self._in_time(rollout(layers, read))
        heads = self._in_time(by_head(layers, read))
        return logits, shares / shares.sum(dim=1, keepdim=True), heads

    def _in_time(self, shares: Float[Tensor, "*axes positions"]) -> Float[Tensor, "*axes places"]:
        patches: Tensor = shares[..., 2:].unflatten(-1, (self.config.bands, -1))  # type: ignore[no-untyped-call]
        return patches.sum(dim=-2)


def build(config: Config) -> SpectrogramTransformer:
    return SpectrogramTransformer(config)


def loss(model: nn.Module, batch: Batch) -> Float[Tensor, ""]:
    """Cross entropy; `labels` are probabilities of each class."""
    return functional.cross_entropy(model(batch["features"]).float(), batch["labels"])


def score(model: nn.Module, batch: Batch) -> dict[str, float]:
    """Over a dev batch of recordings."""
    return sums(model(batch["features"]), batch["labels"].argmax(-1))


def graphs(model: SpectrogramTransformer) -> tuple[Graph, Graph]:
    """The whole model, and its attention; its input always has as many frames."""
    config = model.config
    axes = (config.frames, config.mels)
    (graph,) = classifier(model, CONTRACT["model"], "features", axes, (2, 1, 3))
    return graph, explaining(graph, CONTRACT["attention"])


def attentions(config: Config) -> dict[str, Attentions]:
    """One per layer."""
    every = Attentions(whole=config.layers)
    return {"model": every, "attention": every}


TOLERANCE = 5e-5
RECIPES: dict[str, Recipe] = {}
"""None: the weights are imported."""
