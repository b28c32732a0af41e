"""data of one's own → a model of ours that knows nothing yet, with the files it needs, to train."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from models import own
from models.catalogue import recipes
from models.datasets import write_labels
from models.datasets.pairs import Pair
from models.fine_tuning import RECIPES, Start
from models.recipe import Recipe
from models.subword import END, train_subwords
from models.survey import BadData, Entry
from service.directions import Directions, Source, Target
from service.manifest import Data
from service.subwords import TOKENIZER
from service.tasks import Task

TASKS = ("translation", "image-classification", "audio-classification")
"""Of which our own architectures learn from as little data as one has; speech to text does not."""
LICENCE = "that of its owner"
PATIENCE = 10


def recipe(task: str) -> Recipe:
    """How the shipped model of a task was trained, ended by what the dev split says."""
    _, shipped = recipes()[task]
    of = RECIPES[task]
    return replace(
        shipped,
        dataset=of.dataset,
        data=of.data,
        decay_share=1.0,
        evaluate_every_steps=of.evaluate_every_steps,
        patience=PATIENCE,
    )


def fresh(task: Task, data: Path, folder: Path, *, seed: int) -> Start:
    """The shipped model's architecture with random weights, for what is at `data`.

    Its vocabulary is learnt from the training split, or its classes are those of the data; `folder`
    gets the files. Raises `BadData`.
    """
    entries = own.entries(data, task, seed=seed)
    train = [entry for entry in entries if entry.split == "train"]
    sizes = _vocabulary if task.name == "translation" else _classes
    folder.mkdir(parents=True, exist_ok=True)
    changed = sizes(data, train, folder)
    of, shipped = recipes()[task.name]
    torch.manual_seed(seed)
    return Start(
        name="",
        task=task,
        data=Data(source=data.name, licence=LICENCE),
        architecture=of,
        model=of.build(replace(of.presets[shipped.preset], **changed)),
        assets=sorted((folder / "assets").iterdir()),
    )


def _classes(data: Path, train: Sequence[Entry], folder: Path) -> Mapping[str, Any]:
    labels = sorted({entry.label for entry in train})
    if len(labels) < 2:
        raise BadData(data, [f"has {len(labels)} classes in its train split, and needs two"])
    write_labels(folder, labels)
    return {"classes": len(labels)}


def _vocabulary(data: Path, train: Sequence[Entry], folder: Path) -> Mapping[str, Any]:
    pairs = [entry for entry in train if isinstance(entry, Pair)]
    languages = sorted({language for pair in pairs for language in pair.texts})
    if len(languages) < 2:
        raise BadData(data, [f"has the columns {', '.join(languages)}, and needs two languages"])
    assets = folder / "assets"
    assets.mkdir(exist_ok=True)
    said = (text for pair in pairs for text in pair.texts.values())
    _, shipped = recipes()["translation"]
    most = int(shipped.data["vocab"])
    ids = train_subwords(said, vocab=most, languages=languages, path=assets / TOKENIZER)
    Directions(
        sources={language: Source(after=[ids[END]]) for language in languages},
        targets={
            language: Target(before=[ids[f"<{language}>"]], prompt=[ids[f"<{language}>"]])
            for language in languages
        },
        end=ids[END],
    ).write(assets)
    return {"vocab": len(ids)}
