"""folder of pictures by class → what is in it, and batches of pixels and class numbers.

`PATH/CLASS/*.jpg`, or `PATH/SPLIT/CLASS/*.jpg` with the splits train, dev and maybe test.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from models.datasets import Batch, Dataset, Example
from models.datasets._rows import Rows
from models.survey import BadData, Entry, split_named
from service.manifest import sha256
from service.tasks import Task, stack
from service.tasks.image_classification import Assets, Request

UNIT = "kB"


@dataclass(frozen=True, kw_only=True)
class Picture(Entry):
    """A file; its folder is its class."""

    path: Path


def _folders(path: Path) -> list[Path]:
    found = sorted(each for each in path.iterdir() if not each.name.startswith("."))
    return [each for each in found if each.is_dir()]


def read(path: Path, task: Task) -> list[Picture]:
    """Every file in a folder of a class; raises `BadData`."""
    if not path.is_dir():
        raise BadData(path, ["is no folder of pictures by class"])
    top = _folders(path)
    by_split = bool(top) and all(split_named(each.name) for each in top)
    classes = [(split_named(s.name), c) for s in top for c in _folders(s)] if by_split else []
    classes = classes or [("", each) for each in top]
    if not classes:
        raise BadData(path, ["holds no folder; a class is a folder with its pictures"])
    return [
        Picture(
            at=str(file.relative_to(path)),
            key=sha256(file),
            split=split,
            label=folder.name,
            path=file,
        )
        for split, folder in classes
        for file in sorted(folder.iterdir())
        if file.is_file() and not file.name.startswith(".")
    ]


def _request(picture: Picture) -> Request:
    return Request(image=picture.path.read_bytes(), top_k=1)


def measure(picture: Picture, task: Task, assets: Assets) -> float:
    """Size of the file; raises what the service would."""
    task.preprocess(_request(picture), assets)
    return picture.path.stat().st_size / 1_000


def dataset(
    pictures: Sequence[Picture],
    task: Task,
    assets: Assets,
    *,
    batch: int,
    seed: int,
    training: bool,
) -> Dataset:
    """Batches of `batch` pictures, each as the service gives it to the model."""
    numbers = {label: number for number, label in enumerate(assets.labels)}

    def batch_of(some: Sequence[Picture]) -> Batch:
        items = [item for each in some for item in task.preprocess(_request(each), assets)]
        return {
            "pixels": torch.from_numpy(stack(items, "pixels")),
            "labels": torch.from_numpy(np.array([numbers[each.label] for each in some])),
        }

    return Rows(pictures, batch_of, batch_size=batch, seed=seed, shuffle=training)


def examples(pictures: Sequence[Picture], task: Task, folder: Path) -> Iterator[Example]:
    """A request per picture."""
    for each in pictures:
        yield Example("all", _request(each), [each.label])
