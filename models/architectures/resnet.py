"""pixels → class logits: a residual convolutional network, for image classification.

Source: He et al. 2016, "Deep Residual Learning for Image Recognition", 4.2: stages of blocks of two
3x3 convolutions, each stage at half the side of the one before, then the mean over all places. It
has no attention: it is what attention is compared with.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from models.datasets import Batch
from models.graph import Attentions, Graph, classifier
from models.recipe import Recipe
from models.score import sums
from service.tasks.image_classification import CONTRACT

LABEL_SMOOTHING = 0.1


@dataclass(frozen=True)
class Config:
    """Sizes of the model: the channels of each stage, and how many blocks every stage has."""

    classes: int
    channels: tuple[int, ...]
    blocks: int
    stem_stride: int = 1
    side: int = 32


PRESETS = {
    "testing": Config(classes=3, channels=(8, 16), blocks=1, stem_stride=2),
    "cifar": Config(classes=10, channels=(32, 64, 128), blocks=2, stem_stride=2),
}


def convolution(channels_in: int, channels: int, *, kernel: int, stride: int) -> nn.Sequential:
    """A convolution that keeps the side, or divides it by the stride, and a batch norm."""
    return nn.Sequential(
        nn.Conv2d(channels_in, channels, kernel, stride, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(channels),
    )


class Block(nn.Module):
    """Two convolutions, added to what they read; where that has another shape, to a projection."""

    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        self.first = convolution(channels_in, channels, kernel=3, stride=stride)
        self.second = convolution(channels, channels, kernel=3, stride=1)
        self.shortcut = (
            convolution(channels_in, channels, kernel=1, stride=stride)
            if stride > 1 or channels_in != channels
            else nn.Identity()
        )

    def forward(
        self, x: Float[Tensor, "batch channels_in height width"]
    ) -> Float[Tensor, "batch channels rows columns"]:
        residual = self.second(functional.relu(self.first(x)))
        return functional.relu(self.shortcut(x) + residual)


class ResNet(nn.Module):
    """A convolution, the stages, and a linear layer on the mean over all places."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        channels = config.channels[0]
        self.stem = convolution(3, channels, kernel=3, stride=config.stem_stride)
        blocks = []
        for stage, wanted in enumerate(config.channels):
            for block in range(config.blocks):
                stride = 2 if stage and not block else 1
                blocks.append(Block(channels, wanted, stride))
                channels = wanted
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Linear(channels, config.classes)

    def forward(self, pixels: Float[Tensor, "batch 3 side side"]) -> Float[Tensor, "batch classes"]:
        x: Tensor = self.blocks(functional.relu(self.stem(pixels)))
        logits: Float[Tensor, "batch classes"] = self.head(x.mean(dim=(2, 3)))
        return logits


def build(config: Config) -> ResNet:
    return ResNet(config)


def loss(model: nn.Module, batch: Batch) -> Float[Tensor, ""]:
    """Cross entropy with label smoothing (Szegedy et al. 2016)."""
    pixels = batch["pixels"].contiguous(memory_format=torch.channels_last)
    logits = model(pixels).float()
    return functional.cross_entropy(logits, batch["labels"], label_smoothing=LABEL_SMOOTHING)


def score(model: nn.Module, batch: Batch) -> dict[str, float]:
    """Over a dev batch of pictures, without label smoothing."""
    return sums(model(batch["pixels"]), batch["labels"])


def graphs(model: ResNet) -> tuple[Graph]:
    """The whole model, from normalised pixels to logits."""
    side = model.config.side
    return classifier(model, CONTRACT["model"], "pixels", (3, side, side), (3, 1, 2, 8, 64))


TOLERANCE = 2e-5


def attentions(_: Config) -> dict[str, Attentions]:
    """None."""
    return {"model": Attentions()}


RECIPES = {
    "cifar10-resnet": Recipe(
        preset="cifar",
        dataset="cifar10",
        data={"batch_size": 128, "shift": 3, "cutout": 8, "cutmix": 0},
        steps=600,
        learning_rate=2e-3,
        decay_share=0.8,
        weight_decay=0.1,
        evaluate_every_steps=300,
    ),
}
