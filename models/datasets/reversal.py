"""nothing → batches of digits and the same digits backwards: sequences to try a model on."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from models.datasets import Batch
from models.score import IGNORE

SOURCE = "drawn by this file"
LICENCE = "that of this file"
PAD, END, START, ZERO = 0, 1, 2, 3
"""Token ids; the digit d is `ZERO` + d."""
LENGTHS = (2, 8)
"""Digits of the shortest and the longest sequence."""


class Reversal:
    """Sequences of mixed lengths, with padding in every batch."""

    def __init__(self, *, batches: int, batch_size: int, seed: tuple[int, ...]) -> None:
        self.batches, self.batch_size, self.seed = batches, batch_size, seed

    def __len__(self) -> int:
        return self.batches

    def batch(self, step: int) -> Batch:
        rng = np.random.default_rng((*self.seed, step))
        shortest, longest = LENGTHS
        lengths = rng.integers(shortest, longest + 1, self.batch_size)
        source = np.full((self.batch_size, longest + 1), PAD)
        labels = np.full((self.batch_size, longest + 1), IGNORE)
        for row, length in enumerate(lengths):
            digits = rng.integers(ZERO, ZERO + 10, length)
            source[row, : length + 1] = [*digits, END]
            labels[row, : length + 1] = [*digits[::-1], END]
        starts = np.full((self.batch_size, 1), START)
        target = np.concatenate([starts, np.where(labels == IGNORE, PAD, labels)[:, :-1]], axis=1)
        return {
            "source": torch.from_numpy(source),
            "source_lengths": torch.from_numpy(lengths + 1),
            "target": torch.from_numpy(target),
            "labels": torch.from_numpy(labels),
        }


def load(
    data_dir: Path,
    split: str,
    *,
    run_dir: Path,
    seed: int,
    options: Mapping[str, float | int | str],
) -> Reversal:
    """`train`, or one batch of 256 for `dev` and `test`; `data_dir` is not read."""
    (run_dir / "assets").mkdir(parents=True, exist_ok=True)  # a model of digits needs none
    kept_apart = (seed, ("train", "dev", "test").index(split))
    if split == "train":
        return Reversal(batches=100, batch_size=int(options["batch_size"]), seed=kept_apart)
    return Reversal(batches=1, batch_size=256, seed=kept_apart)
