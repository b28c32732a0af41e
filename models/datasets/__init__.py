"""Datasets, one file each: SOURCE, LICENCE, `load` for training, `examples` for evaluation.

A dataset gives batch number n on request, as a pure function of (seed, n): a training run that
resumes at step n sees what it would have seen without the break.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor

from service.schema import RequestModel

Batch = dict[str, Tensor]


@dataclass(frozen=True)
class Example:
    """A request of a data set with what its answer should hold; groups are scored apart."""

    group: str
    request: RequestModel
    references: list[Any]


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


def write_labels(run_dir: Path, names: Sequence[str]) -> None:
    """Keep the names of the classes, in their order, among what the served model needs."""
    path = run_dir / "assets" / "labels.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(list(names)))
