"""a task and a path → the data of one's own that stands there: its reader, survey and requests."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from models.datasets import Dataset, Example
from models.recipe import SEED
from models.survey import BadData, Entry, Survey, drawn, survey
from service.tasks import Task

FILES = {
    "translation": "pairs",
    "image-classification": "image_folder",
    "audio-classification": "audio_table",
    "automatic-speech-recognition": "audio_table",
}
"""Task → what of `datasets/` reads data of one's own for it."""


class Batches(Protocol):
    """What `dataset` of such a file looks like."""

    def __call__(
        self,
        entries: Sequence[Any],
        task: Task,
        assets: Any,
        *,
        batch: int,
        seed: int,
        training: bool,
    ) -> Dataset: ...


@dataclass(frozen=True)
class Reader:
    """The names that such a file defines."""

    unit: str
    """Of the lengths."""
    read: Callable[[Path, Task], list[Entry]]
    """Every entry, without a look into its files; raises `BadData`."""
    measure: Callable[[Any, Task, Any], float]
    """The length of an entry, by the very code that reads requests; see `survey`."""
    dataset: Batches
    examples: Callable[[Sequence[Any], Task, Path], Iterator[Example]]
    """Requests with what should come back, for a model with its assets in this folder."""


def reader(task: Task) -> Reader:
    module = import_module(f"models.datasets.{FILES[task.name]}")
    names = ("UNIT", "read", "measure", "dataset", "examples")
    return Reader(*(getattr(module, name) for name in names))


def entries(path: Path, task: Task, *, seed: int = SEED) -> list[Entry]:
    """All that is at `path`, with a split each; raises `BadData`."""
    return drawn(reader(task).read(path, task), seed=seed)


def surveyed(path: Path, task: Task, assets: Any, *, seed: int = SEED) -> Survey[Entry]:
    """What is at `path`, each entry tried as a request is; raises `BadData` if nothing can be."""
    of = reader(task)
    return survey(
        path,
        entries(path, task, seed=seed),
        unit=of.unit,
        measure=lambda entry: of.measure(entry, task, assets),
    )


def examples(path: Path, task: Task, split: str, assets: Path) -> list[Example]:
    """Requests of a split, as training draws it; raises `BadData`."""
    chosen = [entry for entry in entries(path, task) if entry.split == split]
    if not chosen:
        raise BadData(path, [f"has no {split} split"])
    return list(reader(task).examples(chosen, task, assets))
