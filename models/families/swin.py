"""Swin (microsoft/swin-*) → our Swin."""

from collections.abc import Mapping
from pathlib import Path

from models.architectures.swin import Config
from models.families import Place, labels, linear, required, same, vit, write_assets
from models.imported import Folder

MODEL_TYPES = ("swin",)
TASK = "image-classification"
ARCHITECTURE = "swin"
UNUSED = ("relative_position_index", "attn_mask", "embeddings.mask_token")


def config(folder: Folder) -> Config:
    said = folder.config
    required(folder, hidden_act="gelu", use_absolute_embeddings=False)
    return Config(
        classes=len(labels(folder)),
        width=said["embed_dim"],
        depths=tuple(said["depths"]),
        heads=tuple(said["num_heads"]),
        window=said["window_size"],
        side=vit.side(folder),
        patch=said["patch_size"],
        expansion=said["mlp_ratio"],
        norm_eps=said["layer_norm_eps"],
    )


def block(ours: str, theirs: str, *, width: int, biased: bool) -> dict[str, Place]:
    attention = f"{theirs}.attention.self"
    table = same(f"{attention}.relative_position_bias_table")
    return {
        **vit.projections(f"{ours}.attention.query_key_value", attention, width, biased=biased),
        f"{ours}.attention.biases": table,
        **linear(f"{ours}.attention.out", f"{theirs}.attention.output.dense"),
        **linear(f"{ours}.attention_norm", f"{theirs}.layernorm_before"),
        **linear(f"{ours}.feed_forward.0", f"{theirs}.intermediate.dense"),
        **linear(f"{ours}.feed_forward.2", f"{theirs}.output.dense"),
        **linear(f"{ours}.feed_forward_norm", f"{theirs}.layernorm_after"),
    }


def places(folder: Folder, of: Config) -> Mapping[str, Place]:
    biased = folder.config.get("qkv_bias", True)
    made = {
        **linear("tokens", "swin.embeddings.patch_embeddings.projection"),
        **linear("tokens_norm", "swin.embeddings.norm"),
        **linear("norm", "swin.layernorm"),
        **linear("head", "classifier"),
    }
    for stage, depth in enumerate(of.depths):
        at, width = f"swin.encoder.layers.{stage}", of.width * 2**stage
        for index in range(depth):
            theirs = f"{at}.blocks.{index}"
            made |= block(f"stages.{stage}.{index}", theirs, width=width, biased=biased)
        if stage + 1 < len(of.depths):
            made |= linear(f"merges.{stage}.norm", f"{at}.downsample.norm")
            made[f"merges.{stage}.out.weight"] = same(f"{at}.downsample.reduction.weight")
    return made


def assets(folder: Folder, into: Path) -> None:
    write_assets(folder, into, "image_processor")
