"""Garments are read as they lie in the package, and no dev picture is trained on."""

import gzip
import io
import json
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from models.datasets import fashion_mnist

COUNT = 40


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder whose garments are grey squares, each as bright as its number."""
    monkeypatch.setattr(fashion_mnist, "DEV_IMAGES", 10)
    (tmp_path / "fashion-mnist").mkdir()
    for part in ("train", "t10k"):
        images = np.arange(COUNT, dtype=np.uint8).repeat(28 * 28)
        labels = np.arange(COUNT, dtype=np.uint8) % 10
        files = {
            "images-idx3": struct.pack(">4I", 2051, COUNT, 28, 28) + images.tobytes(),
            "labels-idx1": struct.pack(">2I", 2049, COUNT) + labels.tobytes(),
        }
        for name, content in files.items():
            path = tmp_path / "fashion-mnist" / f"{part}-{name}-ubyte.gz"
            path.write_bytes(gzip.compress(content))
    return tmp_path


def loaded(folder: Path, split: str, channels: int = 1) -> fashion_mnist.Rows[int]:
    options = {"batch_size": COUNT, "channels": channels}
    return fashion_mnist.load(folder, split, run_dir=folder, seed=1, options=options)


def brightness(split: fashion_mnist.Rows[int]) -> set[int]:
    pixels = split.batch(0)["pixels"][:, 0, 0, 0]
    return set(((pixels + 1) * 127.5).round().int().tolist())


def test_train_and_dev_share_no_picture_and_dev_has_all_classes(folder: Path) -> None:
    train, dev = loaded(folder, "train"), loaded(folder, "dev")
    assert not brightness(train) & brightness(dev)
    assert len(brightness(train) | brightness(dev)) == COUNT
    assert sorted(dev.batch(0)["labels"].tolist()) == list(range(10))
    assert len(brightness(loaded(folder, "test"))) == COUNT


def test_pixels_are_from_minus_one_to_one_in_as_many_channels_as_wanted(folder: Path) -> None:
    batch = loaded(folder, "test", channels=3).batch(0)
    assert batch["pixels"].shape == (COUNT, 3, 28, 28)
    assert torch.equal(batch["pixels"][:, 0], batch["pixels"][:, 2])
    assert batch["pixels"][0].unique().item() == -1
    assert json.loads((folder / "assets" / "labels.json").read_text())[7] == "Sneaker"


def test_requests_ask_for_as_many_pictures_as_there_are_to_compare_with(folder: Path) -> None:
    found = list(fashion_mnist.examples(folder, "test"))
    assert sum(example.request.model_dump()["count"] for example in found) == COUNT
    assert len({example.request.model_dump()["seed"] for example in found}) == len(found)
    bag = next(each for each in found if each.request.model_dump()["label"] == "Bag")
    real = [np.asarray(Image.open(io.BytesIO(file))) for file in bag.references]
    assert [int(image[0, 0]) for image in real] == [8, 18, 28, 38]
