"""automatic-speech-recognition with CTC: wav2vec 2.0 and HuBERT, a letter or none for each frame.

Source: Graves et al. 2006, "Connectionist Temporal Classification": the likeliest letter of each
frame, repetitions taken as one, blanks left out. A recording is cut at pauses as it is for Whisper.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from service import waveform
from service.audio import decode
from service.contract import Graph, Tensor
from service.errors import InvalidInput
from service.explanation import Weights, drawn, over_time
from service.session import Runner
from service.tasks import Item, Row
from service.tasks.automatic_speech_recognition import (
    DETECTED,
    MAX_DURATION_S,
    Request,
    Response,
    Segment,
)
from service.transcript import windows
from service.waveform import EXPLAINED, INPUTS, MAX_BATCH_SAMPLES, RATE_HZ, answered, heard

TASK = "automatic-speech-recognition"
MAX_BATCH_COST = MAX_BATCH_SAMPLES
UNKNOWN = "und"
"""BCP 47 for a language that nobody has said: the vocabulary does not tell."""
_LOGITS = {"logits": Tensor("float32", ("batch", "frames", None))}
CONTRACT = {
    "ctc": Graph(inputs=INPUTS, outputs={**_LOGITS, "frames": EXPLAINED["frames"]}),
    "attention": Graph(inputs=INPUTS, outputs={**_LOGITS, **EXPLAINED}, aside=True),
}


@dataclass(frozen=True)
class Assets:
    """The letters, and whether recordings are scaled."""

    letters: Mapping[int, str]
    """Class → what it writes: nothing for what only marks beginnings, ends and blanks."""
    blank: int
    lower: bool
    scaled: bool

    def text(self, classes: Sequence[int]) -> str:
        """The likeliest class of each frame → what is said."""
        said = (self.letters[each] for each, _ in groupby(classes) if each != self.blank)
        text = " ".join("".join(said).split())
        return text.lower() if self.lower else text


def load_assets(folder: Path) -> Assets:
    """Read `vocab.json`, `tokenizer_config.json` and `preprocessor_config.json`."""
    vocab, said = (
        json.loads((folder / name).read_text(encoding="utf-8"))
        for name in ("vocab.json", "tokenizer_config.json")
    )
    of, blank = letters(vocab, said)
    return Assets(of, blank, bool(said.get("do_lower_case", False)), waveform.read(folder))


def letters(vocab: Mapping[str, Any], said: Mapping[str, Any]) -> tuple[dict[int, str], int]:
    """What each class writes, and the blank.

    Raises ValueError for a vocabulary of several languages, or without a blank.
    """
    if not all(isinstance(number, int) for number in vocab.values()):
        raise ValueError("vocab.json holds vocabularies of several languages")
    names = {"pad": "<pad>", "bos": "<s>", "eos": "</s>", "unk": "<unk>"}
    marks = {kind: _content(said.get(f"{kind}_token", usual)) for kind, usual in names.items()}
    blank = marks["pad"]
    if blank is None or blank not in vocab:
        raise ValueError(f"vocab.json lacks the blank {blank!r}")
    space = _content(said.get("word_delimiter_token", "|"))
    silent = set(marks.values())
    written = {
        number: "" if letter in silent else " " if letter == space else letter
        for letter, number in vocab.items()
    }
    return written, vocab[blank]


def _content(token: str | Mapping[str, str] | None) -> str | None:
    return token["content"] if isinstance(token, Mapping) else token


def preprocess(request: Request, assets: Assets) -> list[Item]:
    """One item per window."""
    if request.task != "transcribe":
        raise InvalidInput("this model writes what it hears and does not translate", "task")
    if request.words:
        raise InvalidInput("this model does not tell when words are said", "words")
    samples = decode(request.audio, field="audio", rate_hz=RATE_HZ, max_duration_s=MAX_DURATION_S)
    return [
        {
            "samples": heard(samples[start:stop], scaled=assets.scaled),
            "start_s": np.array(start / RATE_HZ),
            "end_s": np.array(stop / RATE_HZ),
        }
        for start, stop in windows(samples)
    ]


def forward(model: Runner, assets: Assets, items: Sequence[Item]) -> list[Row]:
    """The likeliest class of each frame; those behind the end of an item are left out."""
    rows = answered(model, "ctc", items)
    for row in rows:
        row["classes"] = row.pop("logits")[: int(row["frames"])].argmax(axis=1)
    return rows


def _segments(items: Sequence[Item], rows: Sequence[Row], assets: Assets) -> Iterator[Segment]:
    for item, row in zip(items, rows, strict=True):
        text = assets.text(row["classes"].tolist())
        if text:
            times = (round(float(item[name]), 2) for name in ("start_s", "end_s"))
            yield Segment(start_s=next(times), end_s=next(times), text=text)


def postprocess(
    request: Request, assets: Assets, items: Sequence[Item], rows: Sequence[Row]
) -> Response:
    """Join the windows."""
    segments = list(_segments(items, rows, assets))
    return Response(
        text=" ".join(segment.text for segment in segments),
        language=UNKNOWN if request.language == DETECTED else request.language,
        duration_s=round(float(items[-1]["end_s"]), 3),
        segments=segments,
        attention=drawn(_maps(items, rows)),
    )


def _maps(items: Sequence[Item], rows: Sequence[Row]) -> Iterator[Weights]:
    """How much of each frame is in all the letters of its window together."""
    for item, row in zip(items, rows, strict=True):
        start_s, end_s = float(item["start_s"]), float(item["end_s"])
        yield from over_time(row, begin_s=start_s, duration_s=end_s - start_s)


def cost(item: Item) -> int:
    return len(item["samples"])
