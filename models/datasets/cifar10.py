"""CIFAR-10 pictures → batches of normalised pixels and class numbers.

The copy read here holds the pictures as JPEG files of quality 75 with 4:2:0 colour, and 8,000 of
the 10,000 test pictures: accuracies on it do not compare with those on the original pixels.
"""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32, Int, UInt8
from numpy import ndarray
from numpy.lib.stride_tricks import sliding_window_view
from numpy.random import Generator

from models.datasets import Batch, Example, write_labels
from models.recipe import SEED
from service.tasks.image_classification import Request, normalised, square

SOURCE = "https://www.cs.toronto.edu/~kriz/cifar.html, as a JPEG quality-75 4:2:0 copy"
LICENCE = "none stated; cite Krizhevsky 2009, Learning Multiple Layers of Features from Tiny Images"
PATH = "cifar10/cifar10_jpeg.npz"
DEV_IMAGES = 2_000
GREY = 128

Images = UInt8[ndarray, "batch height width 3"]
Labels = Int[ndarray, " batch"]


def read_images(path: Path, part: str) -> tuple[Images, Labels, list[str]]:
    """Pictures of `train` or `test`, decoded as the service does, their classes, all classes."""
    with np.load(path) as file:
        content, offsets = file[f"{part}_jpeg"], file[f"{part}_offset"]
        labels, names = file[f"{part}_label"].astype(np.int64), file["classes"].tolist()
    files = (content[start:end].tobytes() for start, end in pairwise(offsets))
    return np.stack([square(file) for file in files]), labels, names


def balanced_rows(labels: Labels, *, size: int, seed: int) -> Int[ndarray, " size"]:
    """`size` rows, as many of each class as of any other; one seed always gives the same."""
    rng = np.random.default_rng(seed)
    classes = np.unique(labels)
    share = size // len(classes)
    chosen = [rng.choice(np.flatnonzero(labels == label), share, False) for label in classes]
    return np.sort(np.concatenate(chosen))


def augmented(images: Images, *, shift: int, cutout: int, rng: Generator) -> Images:
    """Each moved by up to `shift` pixels, flipped half of the time, with a grey square.

    What moves in from outside is the picture's mirror image. The square has `cutout` pixels a side
    and may reach over the border (DeVries and Taylor 2017, "Cutout").
    """
    batch, height, width, _ = images.shape
    padded = np.pad(images, ((0, 0), (shift, shift), (shift, shift), (0, 0)), mode="reflect")
    windows = sliding_window_view(padded, (height, width), axis=(1, 2))
    top, left = rng.integers(0, 2 * shift + 1, (2, batch))
    moved: Images = np.moveaxis(windows[np.arange(batch), top, left], 1, -1)
    flipped = rng.random(batch) < 0.5
    moved[flipped] = moved[flipped, :, ::-1]
    row, column = rng.integers(0, ((height,), (width,)), (2, batch))
    in_rows = np.abs(2 * (np.arange(height) - row[:, None]) + 1) <= cutout
    in_columns = np.abs(2 * (np.arange(width) - column[:, None]) + 1) <= cutout
    moved[in_rows[:, :, None] & in_columns[:, None, :]] = GREY
    return moved


def cutmix(
    images: Images, labels: Float32[ndarray, "batch classes"], *, share: float, rng: Generator
) -> tuple[Images, Float32[ndarray, "batch classes"]]:
    """A rectangle of some pictures is that of another one, and so is its part of their labels.

    `share` of the pictures have one, of any size (Yun et al. 2019, "CutMix").
    """
    batch, height, width, _ = images.shape
    other = rng.permutation(batch)
    sides = np.sqrt(rng.random(batch)) * (rng.random(batch) < share)
    inside = [
        np.abs(np.arange(size) - rng.integers(0, size, (batch, 1))) < sides[:, None] * size / 2
        for size in (height, width)
    ]
    taken = inside[0][:, :, None] & inside[1][:, None, :]
    part = taken.mean(axis=(1, 2), dtype=np.float32)[:, None]
    return (
        np.where(taken[..., None], images[other], images),
        labels * (1 - part) + labels[other] * part,
    )


class Cifar10:
    """Pictures in a new order, augmented, in every pass of training; else in their own order.

    Labels are probabilities of each class in training, and the number of the class elsewhere.
    """

    def __init__(
        self,
        images: Images,
        labels: Labels,
        *,
        batch_size: int,
        seed: int,
        augmentation: Mapping[str, int] | None = None,
        mixed_share: float = 0.0,
    ) -> None:
        self.images, self.labels = images, labels
        self.one_hot = np.eye(labels.max() + 1, dtype=np.float32)
        self.batch_size, self.seed = batch_size, seed
        self.augmentation, self.mixed_share = augmentation, mixed_share
        self._pass_order = lru_cache(maxsize=2)(self._order)

    def __len__(self) -> int:
        """Batches in a pass; training leaves a rest to the other passes."""
        whole, rest = divmod(len(self.images), self.batch_size)
        return whole + (rest > 0 and self.augmentation is None)

    def _order(self, epoch: int) -> Int[ndarray, " rows"]:
        if self.augmentation is None:
            return np.arange(len(self.images))
        return np.random.default_rng((self.seed, 0, epoch)).permutation(len(self.images))

    def batch(self, step: int) -> Batch:
        epoch, index = divmod(step, len(self))
        rows = self._pass_order(epoch)[index * self.batch_size : (index + 1) * self.batch_size]
        images, labels = self.images[rows], self.labels[rows]
        if self.augmentation is not None:
            rng = np.random.default_rng((self.seed, 1, step))
            images = augmented(images, **self.augmentation, rng=rng)
            labels = self.one_hot[labels]
            images, labels = cutmix(images, labels, share=self.mixed_share, rng=rng)
        return {"pixels": torch.from_numpy(normalised(images)), "labels": torch.from_numpy(labels)}


def load(
    data_dir: Path,
    split: str,
    *,
    run_dir: Path,
    seed: int,
    options: Mapping[str, float | int | str],
) -> Cifar10:
    """`train`, `dev` (2,000 pictures held out of train) or `test` (the copy's 8,000).

    With `share` in the options, so much of train, as many pictures of each class as of any other.
    The names of the classes go to `run_dir`/assets/labels.json.
    """
    part = "test" if split == "test" else "train"
    images, labels, names = read_images(data_dir / PATH, part)
    write_labels(run_dir, names)
    if part == "train":
        dev = np.isin(np.arange(len(labels)), balanced_rows(labels, size=DEV_IMAGES, seed=seed))
        chosen = dev if split == "dev" else ~dev
        images, labels = images[chosen], labels[chosen]
    share = float(options.get("share", 1.0))
    if split == "train" and share < 1:
        kept = balanced_rows(labels, size=round(share * len(labels)), seed=seed)
        images, labels = images[kept], labels[kept]
    augmentation = {name: int(options[name]) for name in ("shift", "cutout")}
    return Cifar10(
        images,
        labels,
        batch_size=int(options["batch_size"]),
        seed=seed,
        augmentation=augmentation if split == "train" else None,
        mixed_share=float(options["cutmix"]),
    )


def examples(data_dir: Path, split: str) -> Iterator[Example]:
    """One request per picture of `dev` or `test`, as its JPEG file."""
    part = {"dev": "train", "test": "test"}[split]
    with np.load(data_dir / PATH) as file:
        content, offsets = file[f"{part}_jpeg"], file[f"{part}_offset"]
        labels, names = file[f"{part}_label"], file["classes"].tolist()
    spans = list(pairwise(offsets))
    rows = (
        range(len(labels)) if split == "test" else balanced_rows(labels, size=DEV_IMAGES, seed=SEED)
    )
    for row in rows:
        start, end = spans[row]
        request = Request(image=content[start:end].tobytes(), top_k=1)
        yield Example(split, request, [str(names[labels[row]])])
