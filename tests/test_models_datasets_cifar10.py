"""CIFAR-10 batches: the same for the same step, every picture once a pass, no leak into dev."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from models.datasets import cifar10, stripes
from models.datasets.cifar10 import Cifar10, augmented, balanced_rows, cutmix, load
from service.tasks.image_classification import normalised

OPTIONS = {"batch_size": 64, "shift": 3, "cutout": 8, "cutmix": 0.5}


def pictures(size: int) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (size, 32, 32, 3), dtype=np.uint8)


def training(size: int = 40, *, seed: int = 1, mixed_share: float = 0.0) -> Cifar10:
    return Cifar10(
        pictures(size),
        np.arange(size),
        batch_size=8,
        seed=seed,
        augmentation={"shift": 3, "cutout": 8},
        mixed_share=mixed_share,
    )


def test_a_step_always_has_the_same_batch() -> None:
    first, second = training(), training()
    second.batch(3)  # what was asked before does not matter
    for step in (0, 7):
        one, other = first.batch(step), second.batch(step)
        assert torch.equal(one["pixels"], other["pixels"])
        assert torch.equal(one["labels"], other["labels"])


def test_another_seed_and_another_pass_have_other_batches() -> None:
    data = training()
    assert not torch.equal(data.batch(0)["labels"], training(seed=2).batch(0)["labels"])
    assert not torch.equal(data.batch(0)["labels"], data.batch(len(data))["labels"])


def test_a_training_pass_has_every_picture_once() -> None:
    data = training()
    labels = torch.cat([data.batch(step)["labels"] for step in range(len(data))])
    assert torch.equal(labels.sum(0), torch.ones(40))
    assert torch.equal(labels.sum(1), torch.ones(40))


def test_an_evaluation_pass_has_all_pictures_untouched() -> None:
    images = pictures(20)
    data = Cifar10(images, np.arange(20), batch_size=8, seed=1)
    assert len(data) == 3
    pixels = torch.cat([data.batch(step)["pixels"] for step in range(3)])
    assert torch.equal(pixels, torch.from_numpy(normalised(images)))


def test_dev_has_as_many_of_each_class_and_stays_the_same() -> None:
    labels = np.random.default_rng(0).integers(0, 10, 1_000)
    rows = balanced_rows(labels, size=200, seed=17)
    assert len(np.unique(rows)) == 200
    assert np.bincount(labels[rows]).tolist() == [20] * 10
    assert np.array_equal(rows, balanced_rows(labels, size=200, seed=17))


def test_cutmix_mixes_a_label_as_much_as_its_picture() -> None:
    shades = np.arange(40, dtype=np.uint8)
    images = np.broadcast_to(shades[:, None, None, None], (40, 32, 32, 3))
    rng = np.random.default_rng(0)
    mixed, labels = cutmix(images, np.eye(40, dtype=np.float32), share=0.5, rng=rng)
    for shade, picture, label in zip(shades, mixed, labels, strict=True):
        held = np.bincount(picture[..., 0].ravel(), minlength=40) / 32**2
        np.testing.assert_allclose(held, label, atol=1e-6)
        rows, columns = np.nonzero(picture[..., 0] != shade)
        if rows.size:
            area = (np.ptp(rows) + 1) * (np.ptp(columns) + 1)
            assert rows.size == area, "what is taken is one rectangle"
    assert 8 < (labels.max(axis=1) < 1).sum() < 30
    assert np.array_equal(training(mixed_share=0.5).batch(1)["labels"].sum(1), np.ones(8))


def test_augmentation_moves_flips_and_covers_and_does_nothing_else() -> None:
    ramp = np.arange(32, dtype=np.uint8)
    image = np.stack([*np.broadcast_arrays(ramp[:, None] * 4, ramp * 4), np.full((32, 32), 7)], -1)
    images = np.repeat(image[None].astype(np.uint8), 200, axis=0)
    out = augmented(images, shift=2, cutout=8, rng=np.random.default_rng(0))
    covered = (out == cifar10.GREY).all(-1)
    sizes = covered.sum((1, 2))
    assert sizes.max() == 64
    assert sizes.min() >= 16
    assert (out[..., 2][~covered] == 7).all()
    flipped = out[:, 31, 16, 1] < out[:, 31, 8, 1]
    assert 60 < flipped.sum() < 140
    rows_down = out[:, 16, 31, 0].astype(int) // 4 - 16
    assert set(rows_down[~covered[:, 16, 31]].tolist()) == {-2, -1, 0, 1, 2}


@pytest.fixture
def small_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with 30 train and 10 test pictures of two classes."""
    arrays: dict[str, np.ndarray] = {"classes": np.array(["cat", "dog"])}
    for part, size in (("train", 30), ("test", 10)):
        files = []
        for shade in range(size):
            file = io.BytesIO()
            Image.new("RGB", (32, 32), (shade, shade, shade)).save(file, "JPEG")
            files.append(file.getvalue())
        arrays[f"{part}_jpeg"] = np.frombuffer(b"".join(files), np.uint8)
        arrays[f"{part}_offset"] = np.cumsum([0, *map(len, files)])
        arrays[f"{part}_label"] = np.arange(size, dtype=np.uint8) % 2
    (tmp_path / "cifar10").mkdir()
    np.savez(tmp_path / cifar10.PATH, **arrays)  # type: ignore[arg-type]
    monkeypatch.setattr(cifar10, "DEV_IMAGES", 6)
    return tmp_path


def test_train_dev_and_test_are_read_and_apart(small_copy: Path) -> None:
    splits = {
        split: load(small_copy, split, run_dir=small_copy, seed=17, options=OPTIONS)
        for split in ("train", "dev", "test")
    }
    shades = {split: set(data.images[:, 0, 0, 0].tolist()) for split, data in splits.items()}
    assert (len(shades["train"]), len(shades["dev"]), len(shades["test"])) == (24, 6, 10)
    assert not shades["train"] & shades["dev"]
    assert splits["train"].augmentation
    assert not splits["dev"].augmentation
    assert json.loads((small_copy / "assets" / "labels.json").read_text()) == ["cat", "dog"]


def test_a_share_of_the_training_set_has_as_many_of_each_class(small_copy: Path) -> None:
    def labels(split: str, share: float) -> list[int]:
        options = {**OPTIONS, "share": share}
        data = load(small_copy, split, run_dir=small_copy, seed=17, options=options)
        return sorted(data.labels.tolist())

    assert labels("train", 0.5) == [0] * 6 + [1] * 6
    assert len(labels("train", 1)) == 24
    assert len(labels("dev", 0.5)) == 6
    assert len(labels("test", 0.5)) == 10


def test_stripes_are_the_same_for_a_step_and_differ_between_splits(tmp_path: Path) -> None:
    def data(split: str) -> stripes.Stripes:
        return stripes.load(tmp_path, split, run_dir=tmp_path, seed=1, options=OPTIONS)

    assert torch.equal(data("train").batch(2)["pixels"], data("train").batch(2)["pixels"])
    train, dev = (data(split).batch(0)["pixels"][:64] for split in ("train", "dev"))
    assert not torch.equal(train, dev)


@pytest.mark.data
def test_the_copy_of_cifar_is_read_whole(data_dir: Path) -> None:
    images, labels, names = cifar10.read_images(data_dir / cifar10.PATH, "test")
    assert images.shape == (8_000, 32, 32, 3)
    assert len(names) == 10
    assert set(labels.tolist()) == set(range(10))
