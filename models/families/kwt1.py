"""KWT-1 as ARM released it (`kwt1_weights.npz` and `labels.txt`) → our KWT."""

from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import save_file

from models.architectures.kwt import Config
from models.families import Place, joined, linear, same, write_json, zeros
from models.imported import Folder
from service.cepstrum import MATRICES, NAME

MODEL_TYPES = ("kwt1_weights",)
TASK = "audio-classification"
ARCHITECTURE = "kwt"
UNUSED = (
    *(f"frontend.{name}" for name in (*MATRICES, "norm_sub", "norm_mul")),
    "ln_eps",
)
"""The matrices are assets; the release scales its features by 1 and moves them by 0."""


def labels(folder: Folder) -> list[str]:
    return folder.file("labels.txt").read_text(encoding="utf-8").split()


def config(folder: Folder) -> Config:
    return Config(classes=len(labels(folder)), width=64, heads=1, hidden=256, layers=12)


def places(folder: Folder, of: Config) -> Mapping[str, Place]:
    made = {
        **linear("tokens", "embed"),
        "class_token": same("class_emb"),
        "positions": same("pos_emb"),
        **linear("head", "head"),
    }
    for index in range(of.layers):
        ours, theirs = f"layers.{index}", f"blocks.{index}"
        joint = f"{ours}.self_attention.query_key_value"
        made[f"{joint}.weight"] = joined(*(f"{theirs}.{part}.weight" for part in "qkv"))
        made[f"{joint}.bias"] = zeros(3 * of.width)
        made |= linear(f"{ours}.self_attention.out", f"{theirs}.o")
        made |= linear(f"{ours}.self_attention_norm", f"{theirs}.ln1")
        made |= linear(f"{ours}.feed_forward.0", f"{theirs}.fc1")
        made |= linear(f"{ours}.feed_forward.2", f"{theirs}.fc2")
        made |= linear(f"{ours}.feed_forward_norm", f"{theirs}.ln2")
    return made


def assets(folder: Folder, into: Path) -> None:
    """The classes, and the matrices that features are made with."""
    write_json(into / "labels.json", labels(folder))
    given = folder.tensors()
    save_file({name: given[f"frontend.{name}"].clone() for name in MATRICES}, into / NAME)
