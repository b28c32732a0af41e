"""DeiT (facebook/deit-*) → our vision transformer with class and distillation tokens.

A distilled checkpoint has a head for each, whose logits are averaged: one head over both here. The
others classify the class token alone, as do those that this head gives nothing of the second.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from models.architectures.vit import Config
from models.families import Place, linear, vit, write_assets
from models.imported import Folder

MODEL_TYPES = ("deit",)
TASK = "image-classification"
ARCHITECTURE = "vit"
UNUSED = vit.UNUSED
DISTILLED = "DeiTForImageClassificationWithTeacher"
HEADS = ("cls_classifier", "distillation_classifier")


def config(folder: Folder) -> Config:
    return replace(vit.config(folder), pooling="distilled")


def head(folder: Folder) -> dict[str, Place]:
    """Over both tokens side by side."""

    def mean(of_class: Tensor, of_teacher: Tensor) -> Tensor:
        return torch.cat([of_class, of_teacher], dim=-1) / 2

    def alone(of_class: Tensor) -> Tensor:
        return torch.cat([of_class, torch.zeros_like(of_class)], dim=1)

    if DISTILLED not in folder.config.get("architectures", ()):
        return {**linear("head", "classifier"), "head.weight": Place(("classifier.weight",), alone)}
    weights, biases = (tuple(f"{name}.{kind}" for name in HEADS) for kind in ("weight", "bias"))
    return {
        "head.weight": Place(weights, mean),
        "head.bias": Place(biases, lambda first, second: (first + second) / 2),
    }


def places(folder: Folder, of: Config) -> Mapping[str, Place]:
    biased = folder.config.get("qkv_bias", True)
    made = vit.embeddings("deit.embeddings", ("cls_token", "distillation_token"))
    for index in range(of.layers):
        at = f"deit.encoder.layer.{index}"
        made |= vit.layer(f"layers.{index}", at, width=of.width, biased=biased)
    return {**made, **linear("norm", "deit.layernorm"), **head(folder)}


def assets(folder: Folder, into: Path) -> None:
    write_assets(folder, into, "image_processor")
