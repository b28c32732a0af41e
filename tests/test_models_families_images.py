"""Checkpoints of pictures: ours sees the pixels and gives the logits that the library does."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import nn

from export.imported import read
from export.model import export_model
from models.checkpoint import BadCheckpoint
from models.families import build, family_of
from models.imported import Folder
from models.origin import locate
from service import pixels

transformers = pytest.importorskip("transformers")

SIZES = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 32,
    "num_labels": 3,
}
VIT = {**SIZES, "intermediate_size": 64, "patch_size": 8}
SWIN = {"embed_dim": 16, "depths": [2, 2], "num_heads": [2, 4], "patch_size": 2, "num_labels": 3}
SQUARE = {"size": {"height": 32, "width": 32}}
CUT = {"size": {"height": 40, "width": 40}, "crop_size": {"height": 32, "width": 32}}
SHORT = {"size": {"shortest_edge": 48}, "crop_size": {"height": 42, "width": 42}}
DINO = {**SIZES, "image_size": 70, "patch_size": 14, "mlp_ratio": 2}

CHECKPOINTS: dict[str, tuple[str, dict[str, Any], str, dict[str, Any]]] = {
    "vit": ("ViT", VIT, "ViT", SQUARE),
    "vit-without-bias": ("ViT", {**VIT, "qkv_bias": False}, "ViT", SQUARE),
    "deit": ("DeiT", VIT, "DeiT", CUT),
    "deit-distilled": ("DeiT+Teacher", VIT, "DeiT", CUT),
    "dinov2-interpolated": ("Dinov2", DINO, "Bit", SHORT),
    "swin": ("Swin", {**SWIN, "window_size": 4, "image_size": 32}, "ViT", SQUARE),
    "swin-filled-up": (
        "Swin",
        {**SWIN, "window_size": 5, "image_size": 36},
        "ViT",
        {"size": {"height": 36, "width": 36}},
    ),
}


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


def shuffled(model: nn.Module) -> nn.Module:
    """Weights large enough for every part to matter."""
    with torch.no_grad():
        for tensor in model.parameters():
            fan_in = tensor[0].numel() if tensor.ndim > 1 else 4
            tensor.copy_(torch.randn_like(tensor) / fan_in**0.5 + (tensor.ndim == 1))
    return model


def checkpoint(folder: Path, kind: str) -> Path:
    name, config, processor, said = CHECKPOINTS[kind]
    prefix, _, teacher = name.partition("+")
    ending = "ForImageClassification" + ("WithTeacher" if teacher else "")
    sizes = getattr(transformers, f"{prefix}Config")(**config)
    shuffled(getattr(transformers, f"{prefix}{ending}")(sizes)).save_pretrained(folder)
    getattr(transformers, f"{processor}ImageProcessorPil")(**said).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("kind", CHECKPOINTS)
def test_pixels_and_logits_are_the_librarys(kind: str, tmp_path: Path) -> None:
    assets = tmp_path / "assets"
    assets.mkdir()
    trained = read(locate(str(checkpoint(tmp_path / kind, kind))), assets)
    assert trained.imported is not None
    assert trained.imported.agreement.keys() == {"pixels", "logits"}
    assert trained.imported.agreement["pixels"] <= 1e-6
    assert json.loads((assets / "labels.json").read_text()) == ["LABEL_0", "LABEL_1", "LABEL_2"]


def test_every_window_of_swin_is_one_attention(tmp_path: Path) -> None:
    (tmp_path / "assets").mkdir()
    source = checkpoint(tmp_path / "swin", "swin")
    trained = read(locate(str(source)), tmp_path / "assets")
    manifest = export_model(trained, name="swin", target="cpu", folder=tmp_path / "out")
    assert manifest.parity.graphs.keys() == {"model", "attention"}
    for graph in manifest.parity.graphs.values():
        assert sum(graph.attention_ops.values()) == 4


def test_positions_for_another_size_are_refused(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path / "vit", "vit")
    larger = transformers.ViTImageProcessorPil(size={"height": 64, "width": 64})
    larger.save_pretrained(folder)
    of = Folder(folder)
    with pytest.raises(BadCheckpoint, match=r"image_size is 32, not 64"):
        build(family_of(of), of)


def test_another_activation_is_refused(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path / "vit", "vit")
    said = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(said | {"hidden_act": "relu"}))
    of = Folder(folder)
    with pytest.raises(BadCheckpoint, match=r"hidden_act is 'relu', not 'gelu'"):
        build(family_of(of), of)


def test_a_checkpoint_without_its_processor_is_refused(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path / "vit", "vit")
    (folder / "preprocessor_config.json").unlink()
    of = Folder(folder)
    with pytest.raises(BadCheckpoint, match=r"preprocessor_config\.json is missing"):
        build(family_of(of), of)


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"image_processor_type": "CLIPImageProcessor"}, "CLIPImageProcessor"),
        ({"do_pad": True}, "do_pad"),
        ({"do_resize": False}, "one size"),
        ({"size": {"height": 5_000, "width": 5_000}}, "1024"),
    ],
)
def test_what_cannot_be_done_to_pictures_is_said(said: dict[str, Any], why: str) -> None:
    usual = {"image_processor_type": "ViTImageProcessor", "size": 224}
    with pytest.raises(ValueError, match=why):
        pixels.described(usual | said)


def test_a_picture_that_is_nearly_a_line_is_refused() -> None:
    said = {"image_processor_type": "BitImageProcessor", "size": 256, "crop_size": 224}
    with pytest.raises(pixels.Stretched, match="33 x 1"):
        pixels.described(said)(Image.new("RGB", (33, 1)))


@pytest.mark.parametrize("size", [(31, 20), (20, 31), (7, 5), (60, 45)])
def test_the_cut_is_the_librarys_for_any_size(size: tuple[int, int]) -> None:
    import numpy as np

    said = {"do_resize": False, "do_center_crop": True, "crop_size": {"height": 24, "width": 22}}
    processor = transformers.BitImageProcessorPil(**said)
    picture = Image.effect_noise(size, 90).convert("RGB")
    wanted = processor(picture, return_tensors="np")["pixel_values"][0]
    known = json.loads(processor.to_json_string()) | {"image_processor_type": "BitImageProcessor"}
    np.testing.assert_allclose(pixels.described(known)(picture), wanted, atol=1e-6)
