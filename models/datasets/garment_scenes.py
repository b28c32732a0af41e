"""Fashion-MNIST garments → scenes of a few of them among clutter, with their boxes and classes.

Debian's package `dataset-fashion-mnist` has the files. Dev and test scenes are made of garments
that no other split has, and every scene is drawn anew: no layout is seen twice.
"""

import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import ceil
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32, Int, UInt8
from numpy import ndarray
from numpy.random import Generator
from PIL import Image

from models.datasets import Batch, Example, fashion_mnist, write_labels
from models.datasets.fashion_mnist import CLASSES
from models.recipe import SEED
from models.score import IGNORE
from service.tasks.object_detection import SIDE, Box, Detection, Request, normalised

SOURCE = (
    "https://github.com/zalandoresearch/fashion-mnist, as Debian's package dataset-fashion-mnist; "
    "scenes of them are drawn by models/datasets/garment_scenes.py"
)
LICENCE = "MIT (Xiao, Rasul and Vollgraf 2017, Fashion-MNIST)"
SPLITS = ("train", "dev", "test")
DEV_GARMENTS = 5_000
"""The last of the training file; those of the test file are for the test split."""
DEV_SCENES, TEST_SCENES = 500, 2_000

MOST_GARMENTS = 4
SIZES = (18, 34)
"""Pixels of the side of a garment's picture, before the empty border around it is cut off."""
HIDDEN = 0.25
"""The largest share of a garment, or of one beneath it, over which two may lie."""
TRIES = 10
"""Places tried for a garment that would hide too much; then the scene has one less."""
MOST_DISTRACTORS = 8
PIECE = 10
"""Pixels a side of a distractor, cut out of some garment (Mnih et al. 2014, 4.1)."""
NOISE = (0.02, 0.10)
"""Deviation of the noise of a scene, of a light of 1."""

Garment = UInt8[ndarray, "height width"]
Light = Float32[ndarray, "height width 3"]
DOWN, RIGHT = np.indices((SIDE, SIDE), np.float32) / (SIDE - 1) - 0.5


@dataclass(frozen=True)
class Garments:
    """Grey pictures on black, 28 x 28 pixels, and their classes."""

    images: UInt8[ndarray, "garments 28 28"]
    labels: Int[ndarray, " garments"]


@dataclass(frozen=True)
class Scene:
    """A picture, and of each garment in it left, top, right and bottom in pixels, and the class."""

    image: UInt8[ndarray, "side side 3"]
    boxes: Int[ndarray, "garments 4"]
    labels: Int[ndarray, " garments"]


def read(data_dir: Path, split: str) -> Garments:
    """The garments of a split; no garment of training is in a scene of another split."""
    images, labels = fashion_mnist.file(data_dir, split)
    own = {"train": slice(-DEV_GARMENTS), "dev": slice(-DEV_GARMENTS, None), "test": slice(None)}
    return Garments(images[own[split]], labels[own[split]])


def cut_out(image: UInt8[ndarray, "28 28"]) -> Garment:
    """Without the empty border."""
    rows, columns = np.flatnonzero(image.any(axis=1)), np.flatnonzero(image.any(axis=0))
    return image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def background(rng: Generator) -> Light:
    """One dim colour that passes into another along some direction."""
    angle = rng.uniform(0, 2 * np.pi)
    share = 0.5 + (DOWN * np.float32(np.sin(angle)) + RIGHT * np.float32(np.cos(angle))) / 1.5
    one, other = rng.uniform(0.0, 0.45, (2, 3)).astype(np.float32)
    light: Light = one + share[..., None] * (other - one)
    return light


def paint(light: Light, garment: Garment, left: int, top: int, rng: Generator) -> None:
    """Lay a garment, in some bright colour, over what is there; its dark border lets it through."""
    height, width = garment.shape
    under = light[top : top + height, left : left + width]
    grey = garment[..., None] / np.float32(255)
    colour = rng.uniform(0.5, 1.0, 3).astype(np.float32)
    under += np.minimum(1, 4 * grey) * (grey * colour - under)


def hides_too_much(box: Int[ndarray, " 4"], others: Int[ndarray, "garments 4"]) -> bool:
    corner, opposite = np.maximum(box[:2], others[:, :2]), np.minimum(box[2:], others[:, 2:])
    shared = (opposite - corner).clip(0).prod(axis=1)
    areas = (others[:, 2:] - others[:, :2]).prod(axis=1)
    return bool((shared > HIDDEN * np.minimum(areas, (box[2:] - box[:2]).prod())).any())


def distract(light: Light, garments: Garments, rng: Generator) -> None:
    """Lay some pieces of garments anywhere: they look like clothes, and are none."""
    for _ in range(rng.integers(0, MOST_DISTRACTORS + 1)):
        row, column = rng.integers(0, 28 - PIECE + 1, 2)
        whole = garments.images[rng.integers(len(garments.images))]
        left, top = rng.integers(0, SIDE - PIECE + 1, 2)
        paint(light, whole[row : row + PIECE, column : column + PIECE], left, top, rng)


def scene(garments: Garments, rng: Generator) -> Scene:
    """Between one and `MOST_GARMENTS` garments of any size, facing either side, on clutter."""
    light = background(rng)
    distract(light, garments, rng)
    boxes, labels = np.empty((0, 4), np.int64), list[int]()
    for index in rng.integers(0, len(garments.images), rng.integers(1, MOST_GARMENTS + 1)):
        whole = cut_out(garments.images[index])
        scale = rng.integers(*SIZES, endpoint=True) / 28
        height, width = (max(2, round(scale * side)) for side in whole.shape)
        for _ in range(TRIES):
            left, top = rng.integers(0, SIDE + 1 - np.array([width, height]))
            box = np.array([left, top, left + width, top + height])
            if not hides_too_much(box, boxes):
                small = Image.fromarray(whole).resize((width, height), Image.Resampling.BILINEAR)
                faced = np.asarray(small)[:, :: rng.choice([-1, 1])]
                paint(light, faced, left, top, rng)
                boxes, labels = np.vstack([boxes, box]), [*labels, garments.labels[index]]
                break
    light += np.float32(rng.uniform(*NOISE)) * rng.standard_normal(light.shape, np.float32)
    return Scene((255 * light).clip(0, 255).astype(np.uint8), boxes, np.array(labels))


def scenes(garments: Garments, split: str, count: int, seed: int) -> list[Scene]:
    """The scenes of dev and test, the same for one seed."""
    rngs = (np.random.default_rng((seed, SPLITS.index(split), row)) for row in range(count))
    return [scene(garments, rng) for rng in rngs]


def collate(some: list[Scene]) -> Batch:
    """Pixels, and boxes as centre, width and height in shares of the side, filled up with zeros.

    Where there is no garment the label is `IGNORE`.
    """
    boxes = np.zeros((len(some), MOST_GARMENTS, 4), np.float32)
    labels = np.full((len(some), MOST_GARMENTS), IGNORE)
    for row, each in enumerate(some):
        corners, opposites = each.boxes[:, :2], each.boxes[:, 2:]
        count = len(each.labels)
        boxes[row, :count, :2] = (corners + opposites) / 2 / SIDE
        boxes[row, :count, 2:] = (opposites - corners) / SIDE
        labels[row, :count] = each.labels
    return {
        "pixels": torch.from_numpy(normalised(np.stack([each.image for each in some]))),
        "boxes": torch.from_numpy(boxes),
        "labels": torch.from_numpy(labels),
    }


class Fresh:
    """Batches of scenes that never come again."""

    def __init__(self, garments: Garments, *, batch_size: int, seed: int) -> None:
        self.garments, self.batch_size, self.seed = garments, batch_size, seed

    def __len__(self) -> int:
        """Batches that have as many garments as the split, about."""
        return len(self.garments.images) // (self.batch_size * MOST_GARMENTS // 2)

    def batch(self, step: int) -> Batch:
        rng = np.random.default_rng((self.seed, SPLITS.index("train"), step))
        return collate([scene(self.garments, rng) for _ in range(self.batch_size)])


class Fixed:
    """Batches of the same scenes in every pass."""

    def __init__(self, some: list[Scene], *, batch_size: int) -> None:
        self.scenes, self.batch_size = some, batch_size

    def __len__(self) -> int:
        return ceil(len(self.scenes) / self.batch_size)

    def batch(self, step: int) -> Batch:
        first = step % len(self) * self.batch_size
        return collate(self.scenes[first : first + self.batch_size])


def load(
    data_dir: Path,
    split: str,
    *,
    run_dir: Path,
    seed: int,
    options: Mapping[str, float | int | str],
) -> Fresh | Fixed:
    """`train`, `dev` or `test`; the names of the classes go to `run_dir`/assets/labels.json."""
    write_labels(run_dir, CLASSES)
    garments, batch_size = read(data_dir, split), int(options["batch_size"])
    if split == "train":
        return Fresh(garments, batch_size=batch_size, seed=seed)
    count = int(options.get("scenes", DEV_SCENES if split == "dev" else TEST_SCENES))
    return Fixed(scenes(garments, split, count, seed), batch_size=batch_size)


def png(image: UInt8[ndarray, "height width 3"]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()


def examples(data_dir: Path, split: str) -> Iterator[Example]:
    """One request per scene of `dev` or `test`, whose answer is to hold the garments in it."""
    count = DEV_SCENES if split == "dev" else TEST_SCENES
    for each in scenes(read(data_dir, split), split, count, SEED):
        there = [
            Detection(
                label=CLASSES[label],
                score=1,
                box=Box(**dict(zip(Box.model_fields, box.tolist(), strict=True))),
            )
            for box, label in zip(each.boxes, each.labels, strict=True)
        ]
        yield Example(split, Request(image=png(each.image), threshold=0), [there])
