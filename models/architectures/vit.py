"""pixels → class logits: the vision transformer, for image classification.

Sources: Dosovitskiy et al. 2021, "An Image is Worth 16x16 Words" (patches, class token); Hassani
et al. 2021, "Escaping the Big Data Paradigm with Compact Transformers" (tokens from convolutions,
attention pooling); Xiao et al. 2021, "Early Convolutions Help Transformers See Better". With few
images, and an hour on one core, convolutions learn faster what every picture has in common.
Touvron et al. 2021, "Training data-efficient image transformers & distillation through attention"
(distillation token); Oquab et al. 2023, "DINOv2" (scaled layers, and a head that sees the mean of
the patches beside the class token).
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from models.datasets import Batch
from models.explain import by_head, explaining, rollout, watching
from models.graph import Attentions, Graph, classifier
from models.layers import Block, EncoderLayer, ScaledEncoderLayer
from models.recipe import Recipe
from models.score import sums
from service.tasks.image_classification import CONTRACT

LABEL_SMOOTHING = 0.1

Tokens = Float[Tensor, "batch patches width"]


@dataclass(frozen=True)
class Config:
    """Sizes of the model; its pictures have `side` x `side` pixels in red, green and blue.

    `stem` lists the channels of the convolution stages, each of which halves the side; without
    any, tokens are linear projections of patches. A token covers `patch` x `patch` pixels of what
    the stem leaves.
    """

    classes: int
    width: int
    heads: int
    hidden: int
    layers: int
    side: int = 32
    stem: tuple[int, ...] = ()
    patch: int = 4
    pooling: Literal["class-token", "distilled", "class-and-mean", "attention"] = "class-token"
    dropout: float = 0.0
    norm_eps: float = 1e-5
    scaled: bool = False
    """Layers have a learned factor per channel of what they add."""
    mirrored: bool = False
    """Answers, at twice the work, with the mean over a picture and its mirror image."""

    @property
    def patches(self) -> int:
        tokens_a_side = (self.side >> len(self.stem)) // self.patch
        return tokens_a_side * tokens_a_side


PRESETS = {
    "testing": Config(classes=3, width=32, heads=2, hidden=64, layers=2, patch=8),
    "cifar": Config(
        classes=10,
        width=256,
        heads=4,
        hidden=512,
        layers=4,
        stem=(64, 192, 256),
        patch=1,
        pooling="attention",
        dropout=0.05,
        mirrored=True,
    ),
    # As many parameters as the ResNet that it is compared with, and no convolution.
    "cifar-patches": Config(classes=10, width=128, heads=4, hidden=256, layers=5),
    "garments": Config(
        classes=10,
        width=64,
        heads=2,
        hidden=128,
        layers=2,
        side=28,
        stem=(32, 64),
        patch=1,
        pooling="attention",
        dropout=0.05,
    ),
}


class Stage(nn.Sequential):
    """Two 3x3 convolutions, the first followed by a pooling that halves the side."""

    def __init__(self, channels_in: int, channels: int) -> None:
        super().__init__(
            nn.Conv2d(channels_in, channels, 3, padding=1, bias=False),
            nn.MaxPool2d(2),
            nn.BatchNorm2d(channels),
            nn.GELU(),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.GELU(),
        )


class ClassToken(nn.Module):
    """A learned token before the others, whose last state stands for the picture."""

    vectors = 1
    """Of `width` numbers each, in what is made of a picture."""
    learned = 1

    def __init__(self, width: int) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.randn(1, self.learned, width) * 0.02)

    def prepare(self, tokens: Tokens) -> Float[Tensor, "batch positions width"]:
        return torch.cat([self.token.expand(tokens.shape[0], -1, -1), tokens], dim=1)

    def forward(
        self, tokens: Float[Tensor, "batch positions width"]
    ) -> Float[Tensor, "batch pooled"]:
        return tokens[:, 0]

    def attention_weights(
        self, tokens: Float[Tensor, "batch positions width"]
    ) -> Float[Tensor, "batch positions"]:
        """How much of each position is in what comes of them: the learned ones alone count."""
        learned = torch.arange(tokens.shape[1]) < self.learned
        return learned.to(tokens.dtype).expand(tokens.shape[0], -1) / self.learned


class Distilled(ClassToken):
    """Two learned tokens side by side: the class token, and one that a teacher taught."""

    vectors = learned = 2

    def forward(
        self, tokens: Float[Tensor, "batch positions width"]
    ) -> Float[Tensor, "batch pooled"]:
        return tokens[:, :2].flatten(1)


class ClassAndMean(ClassToken):
    """The class token, and beside it the mean of the patches."""

    vectors = 2

    def forward(
        self, tokens: Float[Tensor, "batch positions width"]
    ) -> Float[Tensor, "batch pooled"]:
        return torch.cat([tokens[:, 0], tokens[:, 1:].mean(dim=1)], dim=1)

    def attention_weights(
        self, tokens: Float[Tensor, "batch positions width"]
    ) -> Float[Tensor, "batch positions"]:
        """Half the class token, and half the mean of the others."""
        patches = torch.ones_like(tokens[:, 1:, 0]) / (tokens.shape[1] - 1)
        return torch.cat([torch.ones_like(tokens[:, :1, 0]), patches], dim=1) / 2


class AttentionPooling(nn.Module):
    """softmax(score(tokens))^T tokens, a mean by importance (Hassani et al. 2021, equation 4)."""

    vectors = 1

    def __init__(self, width: int) -> None:
        super().__init__()
        self.score = nn.Linear(width, 1)

    def prepare(self, tokens: Tokens) -> Tokens:
        return tokens

    def forward(self, tokens: Tokens) -> Float[Tensor, "batch width"]:
        return (self.attention_weights(tokens)[..., None] * tokens).sum(dim=1)

    def attention_weights(self, tokens: Tokens) -> Float[Tensor, "batch patches"]:
        importance: Float[Tensor, "batch patches 1"] = self.score(tokens).softmax(dim=1)
        return importance[..., 0]


POOLINGS: dict[str, type[ClassToken | AttentionPooling]] = {
    "class-token": ClassToken,
    "distilled": Distilled,
    "class-and-mean": ClassAndMean,
    "attention": AttentionPooling,
}


class VisionTransformer(nn.Module):
    """Tokens from convolutions or patches, self-attention between them, one vector of logits."""

    pooling: ClassToken | AttentionPooling

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        channels = (3, *config.stem)
        self.stem = nn.Sequential(*map(Stage, channels, config.stem))
        self.tokens = nn.Conv2d(channels[-1], config.width, config.patch, stride=config.patch)
        self.positions = nn.Parameter(torch.randn(1, config.patches, config.width) * 0.02)
        self.pooling = POOLINGS[config.pooling](config.width)
        layer = ScaledEncoderLayer if config.scaled else EncoderLayer
        sizes = (config.width, config.heads, config.hidden, config.dropout)
        self.layers = nn.ModuleList(
            layer(*sizes, Block(norm_epsilon=config.norm_eps)) for _ in range(config.layers)
        )
        self.norm = nn.LayerNorm(config.width, config.norm_eps)
        self.head = nn.Linear(self.pooling.vectors * config.width, config.classes)

    def forward(self, pixels: Float[Tensor, "batch 3 side side"]) -> Float[Tensor, "batch classes"]:
        if self.training or not self.config.mirrored:
            return self.classify(pixels)
        both = torch.stack([pixels, pixels.flip(3)], dim=1).flatten(0, 1)
        return self.classify(both).unflatten(0, (-1, 2)).mean(dim=1)  # type: ignore[no-untyped-call,no-any-return]

    def classify(
        self, pixels: Float[Tensor, "batch 3 side side"]
    ) -> Float[Tensor, "batch classes"]:
        tokens = self.tokens(self.stem(pixels)).flatten(2).transpose(1, 2)
        x = self.pooling.prepare(tokens + self.positions)
        for layer in self.layers:
            x = layer(x)
        logits: Float[Tensor, "batch classes"] = self.head(self.pooling(self.norm(x)))
        return logits

    def explain(
        self, pixels: Float[Tensor, "batch 3 side side"]
    ) -> tuple[
        Float[Tensor, "batch classes"],
        Float[Tensor, "batch rows columns"],
        Float[Tensor, "batch layers heads rows columns"],
    ]:
        """Logits, and how much of each patch is in them: by all layers, and by each head.

        Learned tokens are left out, and the shares of the patches by all layers add up to 1.
        """
        with watching(self) as seen:
            logits = self(pixels)
        *layers, read = seen
        patches = self.config.patches
        shares = rollout(layers, read)[:, -patches:]
        maps = self._placed(shares / shares.sum(dim=1, keepdim=True))
        return logits, maps, self._placed(by_head(layers, read)[..., -patches:])

    def _placed(
        self, shares: Float[Tensor, "views *axes patches"]
    ) -> Float[Tensor, "batch *axes rows columns"]:
        """Patches where they are in the picture; the mean with its mirror image, turned back."""
        side = math.isqrt(self.config.patches)
        maps: Tensor = shares.unflatten(-1, (side, side))  # type: ignore[no-untyped-call]
        if not self.config.mirrored:
            return maps
        return (maps[::2] + maps[1::2].flip(-1)) / 2


def build(config: Config) -> VisionTransformer:
    return VisionTransformer(config)


def loss(model: nn.Module, batch: Batch) -> Float[Tensor, ""]:
    """Cross entropy with label smoothing (Szegedy et al. 2016)."""
    # With the channels innermost a training step on a CPU takes two thirds of the time.
    pixels = batch["pixels"].contiguous(memory_format=torch.channels_last)
    logits = model(pixels).float()
    return functional.cross_entropy(logits, batch["labels"], label_smoothing=LABEL_SMOOTHING)


def score(model: nn.Module, batch: Batch) -> dict[str, float]:
    """Over a dev batch of pictures, without label smoothing."""
    return sums(model(batch["pixels"]), batch["labels"])


def graphs(model: VisionTransformer) -> tuple[Graph, Graph]:
    """The whole model, from normalised pixels to logits, and to its attention."""
    side = model.config.side
    (graph,) = classifier(model, CONTRACT["model"], "pixels", (3, side, side), (3, 1, 2, 8, 64))
    return graph, explaining(graph, CONTRACT["attention"])


TOLERANCE = 2e-5


def attentions(config: Config) -> dict[str, Attentions]:
    """One per layer."""
    every = Attentions(whole=config.layers)
    return {"model": every, "attention": every}


RECIPES = {
    "image-classification": Recipe(
        preset="cifar",
        dataset="cifar10",
        data={"batch_size": 256, "shift": 3, "cutout": 8, "cutmix": 0.5},
        steps=4_300,
        learning_rate=2e-3,
        warmup_steps=200,
        decay_share=1.0,
        weight_decay=0.1,
        evaluate_every_steps=300,
    ),
    "cifar10-patches": Recipe(
        preset="cifar-patches",
        dataset="cifar10",
        data={"batch_size": 128, "shift": 3, "cutout": 8, "cutmix": 0},
        steps=600,
        learning_rate=2e-3,
        decay_share=0.8,
        weight_decay=0.1,
        evaluate_every_steps=300,
    ),
    "fashion-mnist": Recipe(
        preset="garments",
        dataset="fashion_mnist",
        data={"batch_size": 128, "channels": 3},
        steps=1_000,
        learning_rate=2e-3,
        decay_share=1.0,
        weight_decay=0.1,
        evaluate_every_steps=250,
    ),
    "stripes": Recipe(
        preset="testing",
        dataset="stripes",
        data={"batch_size": 64},
        steps=40,
        learning_rate=5e-3,
        warmup_steps=10,
        evaluate_every_steps=20,
    ),
}
