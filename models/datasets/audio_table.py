"""CSV of recordings of one's own, with labels or texts → what is in it, and batches of them.

Columns are `file` (from the folder of the CSV on), `label` or `text`, and maybe `split`, `speaker`
(whose recordings then stay in one split) and `language` (for a model that knows several).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch

from models.datasets import Batch, Dataset, Example
from models.datasets._rows import Rows
from models.datasets._sentences import learnt, padded
from models.datasets._table import Row, read_table
from models.score import IGNORE
from models.survey import Entry, Unfit
from service.errors import InvalidInput
from service.kinds import automatic_speech_recognition_ctc as ctc
from service.manifest import sha256
from service.schema import RequestModel
from service.tasks import Item, Task, stack
from service.tasks import automatic_speech_recognition as speech

UNIT = "s"
COLUMNS = {"audio-classification": "label", "automatic-speech-recognition": "text"}
"""What says what is heard, by task."""


@dataclass(frozen=True, kw_only=True)
class Recording(Entry):
    """A file, and what is said in it or its label."""

    path: Path
    text: str
    language: str

    @property
    def learnt(self) -> str:
        return f"{self.label} {self.language} {self.text}"


def read(path: Path, task: Task) -> list[Recording]:
    """Every line; raises `BadData`."""
    column = COLUMNS[task.name]
    is_label = column == "label"
    return [
        _recording(row, path.parent / row.cells["file"], label=row.cells[column] * is_label)
        for row in read_table(path, delimiter=",", needed=("file", column))
    ]


def _recording(row: Row, path: Path, *, label: str) -> Recording:
    return Recording(
        at=f"{row.at}, {row.cells['file']}",
        key=sha256(path) if path.is_file() else row.at,
        split=row.split,
        speaker=row.cells.get("speaker", ""),
        label=label,
        path=path,
        text=row.cells.get("text", ""),
        language=row.cells.get("language") or speech.DETECTED,
    )


def _request(recording: Recording, task: Task) -> RequestModel:
    if not recording.path.is_file():
        raise InvalidInput("there is no such file")
    fields: dict[str, Any] = {"audio": recording.path.read_bytes()}
    if COLUMNS[task.name] == "text":
        fields["language"] = recording.language
    return task.request(**fields)


def _item(recording: Recording, task: Task, assets: Any) -> Item:
    """What the service gives the model of it; raises `Unfit` for what is heard in pieces."""
    first, *others = task.preprocess(_request(recording, task), assets)
    if others:
        raise Unfit("is longer than the model hears at once, and left out")
    return first


def letters(text: str, assets: ctc.Assets) -> list[int]:
    """The classes of a text, in the case that the vocabulary has; raises `Unfit`."""
    classes = {letter: number for number, letter in assets.letters.items() if letter}
    found = []
    for letter in " ".join(text.split()):
        known = [each for each in (letter, letter.upper(), letter.lower()) if each in classes]
        if not known:
            raise Unfit(f"has {letter!r}, which the vocabulary lacks, and is left out")
        found.append(classes[known[0]])
    return found


def tokens(text: str, prompt: Sequence[int], assets: speech.Assets) -> list[int]:
    """A text as Whisper gives it: behind its prompt, with a space before the first word."""
    said = assets.tokenizer.encode(f" {text}", add_special_tokens=False).ids
    return [*prompt, *said, assets.end]


def measure(recording: Recording, task: Task, assets: Any) -> float:
    """Its duration; raises `Unfit`, or what the service would."""
    _item(recording, task, assets)
    if COLUMNS[task.name] == "label":
        if not recording.label:
            raise InvalidInput("has no label")
    elif not recording.text:
        raise Unfit("has an empty text, and is left out")
    elif isinstance(assets, ctc.Assets):
        letters(recording.text, assets)
    else:
        if assets.languages and recording.language == speech.DETECTED:
            raise InvalidInput("has no language, and the model knows several: add that column")
        if len(tokens(recording.text, (), assets)) > speech.MAX_NEW_TOKENS:
            raise Unfit(f"has more than {speech.MAX_NEW_TOKENS} tokens, and is left out")
    return float(soundfile.info(recording.path).duration)


def _samples(items: Sequence[Item]) -> Batch:
    lengths = torch.tensor([len(item["samples"]) for item in items])
    return {"samples": torch.from_numpy(stack(items, "samples")), "lengths": lengths}


def _classes(assets: Any, some: Sequence[Recording], items: Sequence[Item]) -> Batch:
    """Features or samples, and the probability of each class, 1 or 0."""
    rows = [assets.labels.index(each.label) for each in some]
    labels = torch.from_numpy(np.eye(len(assets.labels), dtype=np.float32)[rows])
    if "samples" in items[0]:
        return {**_samples(items), "labels": labels}
    return {"features": torch.from_numpy(stack(items, "features")), "labels": labels}


def _letters(assets: ctc.Assets, some: Sequence[Recording], items: Sequence[Item]) -> Batch:
    """Samples, and the letters that are said in them."""
    said = [letters(each.text, assets) for each in some]
    labels = {
        "labels": padded(said, IGNORE),
        "label_lengths": torch.tensor([len(each) for each in said]),
        "blank": torch.tensor(assets.blank),
    }
    return {**_samples(items), **labels}


def _tokens(assets: speech.Assets, some: Sequence[Recording], items: Sequence[Item]) -> Batch:
    """Features, the tokens so far and the next ones."""
    prompts = [item["prompt"].tolist() for item in items]
    texts = [tokens(each.text, prompt, assets) for each, prompt in zip(some, prompts, strict=True)]
    following = [learnt(text, len(prompt)) for text, prompt in zip(texts, prompts, strict=True)]
    return {
        "features": torch.from_numpy(stack(items, "features")),
        "target": padded([text[:-1] for text in texts], assets.end),
        "labels": padded(following, IGNORE),
    }


def dataset(
    recordings: Sequence[Recording],
    task: Task,
    assets: Any,
    *,
    batch: int,
    seed: int,
    training: bool,
) -> Dataset:
    """Batches of `batch` recordings, each as the service gives it to the model."""
    made: Callable[..., Batch] = _classes
    if COLUMNS[task.name] == "text":
        made = _letters if isinstance(assets, ctc.Assets) else _tokens
    labelled = partial(made, assets)

    def batch_of(some: Sequence[Recording]) -> Batch:
        return labelled(some, [_item(each, task, assets) for each in some])

    return Rows(recordings, batch_of, batch_size=batch, seed=seed, shuffle=training)


def examples(recordings: Sequence[Recording], task: Task, folder: Path) -> Iterator[Example]:
    """A request per recording."""
    for each in recordings:
        said = each.text if COLUMNS[task.name] == "text" else each.label
        yield Example("all", _request(each, task), [said])
