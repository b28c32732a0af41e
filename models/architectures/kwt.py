"""cepstra of one second → class logits: KWT as ARM released it, for audio classification.

Source: Berg et al. 2021, "Keyword Transformer: A Self-Attention Model for Keyword Spotting": a
position per frame, a class token before them, post-norm blocks whose queries, keys and values have
no bias (zero here).
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
    """Sizes of the model; a frame holds `mels` cepstral coefficients.

    With a `window`, a frame attends to so many frames before it and behind it in each layer; the
    class token to all.
    """

    classes: int
    width: int
    heads: int
    hidden: int
    layers: int
    mels: int = 40
    frames: int = 98
    norm_eps: float = 1e-6
    window: Window | None = None


PRESETS = {
    "testing": Config(classes=4, width=32, heads=2, hidden=64, layers=2),
    "kwt-1": Config(classes=12, width=64, heads=1, hidden=256, layers=12),
}


class Kwt(nn.Module):
    """A linear token per frame, the class token before them, self-attention between all."""

    mask: Tensor | None

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.tokens = nn.Linear(config.mels, config.width)
        self.class_token = nn.Parameter(torch.randn(1, 1, config.width) * 0.02)
        self.positions = nn.Parameter(torch.randn(1, 1 + config.frames, config.width) * 0.02)
        block = Block(norm_first=False, norm_epsilon=config.norm_eps)
        self.layers = nn.ModuleList(
            EncoderLayer(config.width, config.heads, config.hidden, 0.0, block)
            for _ in range(config.layers)
        )
        self.head = nn.Linear(config.width, config.classes)
        places, window = torch.arange(config.frames), config.window
        mask = None if window is None else window_mask(places, window, learned=1)
        self.register_buffer("mask", mask, persistent=False)

    def forward(
        self, features: Float[Tensor, "batch frames mels"]
    ) -> Float[Tensor, "batch classes"]:
        tokens = self.tokens(features)
        x = torch.cat([self.class_token.expand(tokens.shape[0], -1, -1), tokens], dim=1)
        x = x + self.positions
        for layer in self.layers:
            x = layer(x, mask=self.mask)
        logits: Tensor = self.head(x[:, 0])
        return logits

    def explain(
        self, features: Float[Tensor, "batch frames mels"]
    ) -> tuple[
        Float[Tensor, "batch classes"],
        Float[Tensor, "batch frames"],
        Float[Tensor, "batch layers heads frames"],
    ]:
        """Logits, and how much the class token has of each frame: by all layers, and by head."""
        with watching(self) as layers:
            logits = self(features)
        read = mean_of_first(1, layers)
        shares = rollout(layers, read)[:, 1:]
        return logits, shares / shares.sum(dim=1, keepdim=True), by_head(layers, read)[..., 1:]


def build(config: Config) -> Kwt:
    return Kwt(config)


def loss(model: nn.Module, batch: Batch) -> Float[Tensor, ""]:
    """Cross entropy; `labels` are probabilities of each class."""
    return functional.cross_entropy(model(batch["features"]).float(), batch["labels"])


def score(model: nn.Module, batch: Batch) -> dict[str, float]:
    """Over a dev batch of clips."""
    return sums(model(batch["features"]), batch["labels"].argmax(-1))


def graphs(model: Kwt) -> tuple[Graph, Graph]:
    """The whole model, and its attention; its input always has as many frames."""
    config = model.config
    axes = (config.frames, config.mels)
    (graph,) = classifier(model, CONTRACT["model"], "features", axes, (3, 1, 8))
    return graph, explaining(graph, CONTRACT["attention"])


def attentions(config: Config) -> dict[str, Attentions]:
    """One per layer."""
    every = Attentions(whole=config.layers)
    return {"model": every, "attention": every}


TOLERANCE = 2e-5
RECIPES: dict[str, Recipe] = {}
"""None: the weights are imported."""
