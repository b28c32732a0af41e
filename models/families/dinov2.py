"""DINOv2 with a linear head (facebook/dinov2-*-imagenet1k-1-layer) → our vision transformer.

Its positions are for larger pictures than it is asked about: they are interpolated once, here.
"""

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor
from torch.nn import functional

from models.architectures.vit import Config
from models.families import Place, labels, linear, required, same, vit, write_assets
from models.imported import Folder

MODEL_TYPES = ("dinov2",)
TASK = "image-classification"
ARCHITECTURE = "vit"
UNUSED = vit.UNUSED


def config(folder: Folder) -> Config:
    said = folder.config
    required(folder, hidden_act="gelu", use_swiglu_ffn=False, num_channels=3)
    (side, _) = vit.pixels(folder).height_width or (0, 0)
    return Config(
        classes=len(labels(folder)),
        width=said["hidden_size"],
        heads=said["num_attention_heads"],
        hidden=int(said["hidden_size"] * said["mlp_ratio"]),
        layers=said["num_hidden_layers"],
        side=side,
        patch=said["patch_size"],
        pooling="class-and-mean",
        norm_eps=said["layer_norm_eps"],
        scaled=True,
    )


def layer(ours: str, theirs: str, *, width: int, biased: bool) -> dict[str, Place]:
    attention = f"{theirs}.attention.attention"
    joint = f"{ours}.self_attention.query_key_value"
    return {
        **vit.projections(joint, attention, width, biased=biased),
        **linear(f"{ours}.self_attention.out", f"{theirs}.attention.output.dense"),
        **linear(f"{ours}.self_attention_norm", f"{theirs}.norm1"),
        f"{ours}.self_attention_scale": same(f"{theirs}.layer_scale1.lambda1"),
        **linear(f"{ours}.feed_forward.0", f"{theirs}.mlp.fc1"),
        **linear(f"{ours}.feed_forward.2", f"{theirs}.mlp.fc2"),
        **linear(f"{ours}.feed_forward_norm", f"{theirs}.norm2"),
        f"{ours}.feed_forward_scale": same(f"{theirs}.layer_scale2.lambda1"),
    }


def interpolated(positions: Tensor, side: int) -> Tensor:
    """Positions (1, places, width) of a square of patches → those of `side` x `side` patches."""
    known = round((positions.shape[1]) ** 0.5)
    if known == side:
        return positions
    grid = positions.unflatten(1, (known, known)).permute(0, 3, 1, 2)  # type: ignore[no-untyped-call]
    wanted = functional.interpolate(grid, size=(side, side), mode="bicubic", align_corners=False)
    return wanted.flatten(2).transpose(1, 2)


def places(folder: Folder, of: Config) -> Mapping[str, Place]:
    biased = folder.config.get("qkv_bias", True)
    made = vit.embeddings("dinov2.embeddings", ("cls_token",))
    across = of.side // of.patch
    positions = ("dinov2.embeddings.position_embeddings",)
    made["positions"] = Place(positions, lambda all: interpolated(all[:, 1:], across))
    for index in range(of.layers):
        at = f"dinov2.encoder.layer.{index}"
        made |= layer(f"layers.{index}", at, width=of.width, biased=biased)
    return {**made, **linear("norm", "dinov2.layernorm"), **linear("head", "classifier")}


def assets(folder: Folder, into: Path) -> None:
    write_assets(folder, into, "image_processor")
