"""ViT (google/vit-*) → our vision transformer with a class token."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from models.architectures.vit import Config
from models.checkpoint import BadCheckpoint
from models.families import (
    Place,
    joined,
    joined_linear,
    labels,
    linear,
    preprocessing,
    required,
    write_assets,
    zeros,
)
from models.imported import Folder
from service.pixels import Pixels, described

MODEL_TYPES = ("vit",)
TASK = "image-classification"
ARCHITECTURE = "vit"
UNUSED = ("pooler.dense.weight", "pooler.dense.bias", "embeddings.mask_token")
PARTS = ("query", "key", "value")


def pixels(folder: Folder) -> Pixels:
    """What the checkpoint does to pictures; raises BadCheckpoint for what is not done here."""
    try:
        found = described(preprocessing(folder, "image_processor"))
    except (ValueError, KeyError, TypeError) as error:
        raise BadCheckpoint(f"{folder.path}: {error}") from error
    height, width = found.height_width or (0, 0)
    if height != width:
        raise BadCheckpoint(f"{folder.path}: pictures of {height} x {width} are no squares")
    return found


def side(folder: Folder) -> int:
    """Of the pictures, which must have the size that the positions are for."""
    (of, _) = pixels(folder).height_width or (0, 0)
    required(folder, image_size=of, num_channels=3)
    return of


def config(folder: Folder) -> Config:
    said = folder.config
    required(folder, hidden_act="gelu")
    return Config(
        classes=len(labels(folder)),
        width=said["hidden_size"],
        heads=said["num_attention_heads"],
        hidden=said["intermediate_size"],
        layers=said["num_hidden_layers"],
        side=side(folder),
        patch=said["patch_size"],
        norm_eps=said["layer_norm_eps"],
    )


def layer(ours: str, theirs: str, *, width: int, biased: bool) -> dict[str, Place]:
    """One encoder layer, under the names that ViT, DeiT and AST share."""
    attention = f"{theirs}.attention.attention"
    return {
        **projections(f"{ours}.self_attention.query_key_value", attention, width, biased=biased),
        **linear(f"{ours}.self_attention.out", f"{theirs}.attention.output.dense"),
        **linear(f"{ours}.self_attention_norm", f"{theirs}.layernorm_before"),
        **linear(f"{ours}.feed_forward.0", f"{theirs}.intermediate.dense"),
        **linear(f"{ours}.feed_forward.2", f"{theirs}.output.dense"),
        **linear(f"{ours}.feed_forward_norm", f"{theirs}.layernorm_after"),
    }


def projections(ours: str, theirs: str, width: int, *, biased: bool) -> dict[str, Place]:
    """Query, key and value; where they have no bias, ours is zero."""
    names = [f"{theirs}.{part}" for part in PARTS]
    if biased:
        return joined_linear(ours, *names)
    return {
        f"{ours}.weight": joined(*(f"{name}.weight" for name in names)),
        f"{ours}.bias": zeros(3 * width),
    }


def embeddings(theirs: str, learned: tuple[str, ...]) -> dict[str, Place]:
    """Patches, the learned tokens with their positions, and the positions of the patches."""
    count = len(learned)

    def tokens(positions: Tensor, *of: Tensor) -> Tensor:
        return torch.cat(of, dim=1) + positions[:, :count]

    positions = f"{theirs}.position_embeddings"
    return {
        **linear("tokens", f"{theirs}.patch_embeddings.projection"),
        "pooling.token": Place((positions, *(f"{theirs}.{each}" for each in learned)), tokens),
        "positions": Place((positions,), lambda tensor: tensor[:, count:]),
    }


def places(folder: Folder, of: Config) -> Mapping[str, Place]:
    biased = folder.config.get("qkv_bias", True)
    made = embeddings("vit.embeddings", ("cls_token",))
    for index in range(of.layers):
        at = f"vit.encoder.layer.{index}"
        made |= layer(f"layers.{index}", at, width=of.width, biased=biased)
    return {
        **made,
        **linear("norm", "vit.layernorm"),
        **linear("head", "classifier"),
    }


def assets(folder: Folder, into: Path) -> None:
    write_assets(folder, into, "image_processor")
