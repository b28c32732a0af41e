"""nothing → batches of noisy stripes that lie flat, stand or lean: pictures to try a model on."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from models.datasets import Batch, write_labels
from service.tasks.image_classification import SIDE, normalised

SOURCE = "drawn by this file"
LICENCE = "that of this file"
CLASSES = ("flat", "standing", "leaning")
DOWN_AND_RIGHT = np.array([[1, 0], [0, 1], [0.7, 0.7]])
"""Per class, how far across the stripes one step down and one to the right lead."""


class Stripes:
    """Stripes 5 to 9 pixels apart, anywhere, in noise of nearly their own strength."""

    def __init__(self, *, batches: int, batch_size: int, seed: tuple[int, ...]) -> None:
        self.batches, self.batch_size, self.seed = batches, batch_size, seed

    def __len__(self) -> int:
        return self.batches

    def batch(self, step: int) -> Batch:
        rng = np.random.default_rng((*self.seed, step))
        labels = rng.integers(0, len(CLASSES), self.batch_size)
        places = np.tensordot(DOWN_AND_RIGHT[labels], np.indices((SIDE, SIDE)), axes=1)
        apart, start = rng.uniform(5, 9, self.batch_size), rng.uniform(0, 1, self.batch_size)
        waves = np.sin(2 * np.pi * (places / apart[:, None, None] + start[:, None, None]))
        grey = 128 + 50 * waves + 40 * rng.standard_normal(waves.shape)
        images = np.repeat(grey.clip(0, 255).astype(np.uint8)[..., None], 3, axis=-1)
        return {
            "pixels": torch.from_numpy(normalised(images)),
            "labels": torch.from_numpy(labels),
        }


def load(
    data_dir: Path,
    split: str,
    *,
    run_dir: Path,
    seed: int,
    options: Mapping[str, float | int | str],
) -> Stripes:
    """`train`, or one batch of 512 for `dev` and `test`; `data_dir` is not read.

    The names of the classes go to `run_dir`/assets/labels.json.
    """
    write_labels(run_dir, CLASSES)
    kept_apart = (seed, ("train", "dev", "test").index(split))
    if split == "train":
        return Stripes(batches=100, batch_size=int(options["batch_size"]), seed=kept_apart)
    return Stripes(batches=1, batch_size=512, seed=kept_apart)
