"""Datasets, one file each: SOURCE, LICENCE and `load(data_dir, split, recipe options)`.

A dataset gives batch number n on request, as a pure function of (seed, n): a training run that
resumes at step n sees what it would have seen without the break.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from torch import Tensor

Batch = dict[str, Tensor]


class Dataset(Protocol):
    """Batches of one split."""

    def __len__(self) -> int:
        """Batches in one pass."""

    def batch(self, step: int) -> Batch:
        """Batch `step`, counted over all passes."""


class Loader(Protocol):
    """What `load` of a dataset file looks like."""

    def __call__(
        self,
        data_dir: Path,
        split: str,
        *,
        run_dir: Path,
        seed: int,
        options: Mapping[str, float | int | str],
    ) -> Dataset: ...
