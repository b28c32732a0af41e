"""audio-classification from samples: wav2vec 2.0 and HuBERT with a head for classes."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from service import waveform
from service.audio import decode
from service.contract import Graph, Tensor
from service.explanation import drawn, over_time
from service.session import Runner
from service.tasks import Item, Row
from service.tasks.audio_classification import MAX_DURATION_S, Label, Request, Response
from service.waveform import EXPLAINED, INPUTS, MAX_BATCH_SAMPLES, RATE_HZ, answered, heard

TASK = "audio-classification"
MAX_BATCH_COST = MAX_BATCH_SAMPLES
_LOGITS = {"logits": Tensor("float32", ("batch", None))}
CONTRACT = {
    "waveform": Graph(inputs=INPUTS, outputs=_LOGITS),
    "attention": Graph(inputs=INPUTS, outputs={**_LOGITS, **EXPLAINED}, aside=True),
}


@dataclass(frozen=True)
class Assets:
    """The labels in the order of the classes, and whether recordings are scaled."""

    labels: Sequence[str]
    scaled: bool


def load_assets(folder: Path) -> Assets:
    """Read `labels.json` and `preprocessor_config.json`."""
    labels = json.loads((folder / "labels.json").read_text(encoding="utf-8"))
    return Assets(labels, waveform.read(folder))


def preprocess(request: Request, assets: Assets) -> list[Item]:
    """The whole recording is one item."""
    samples = decode(request.audio, field="audio", rate_hz=RATE_HZ, max_duration_s=MAX_DURATION_S)
    return [{"samples": heard(samples, scaled=assets.scaled)}]


def forward(model: Runner, assets: Assets, items: Sequence[Item]) -> list[Row]:
    return answered(model, "waveform", items)


def postprocess(
    request: Request, assets: Assets, items: Sequence[Item], rows: Sequence[Row]
) -> Response:
    logits = rows[0]["logits"]
    odds = np.exp(logits - logits.max())
    scores = odds / odds.sum()
    best = np.argsort(-scores, kind="stable")[: request.top_k]
    labels = [Label(label=assets.labels[index], score=float(scores[index])) for index in best]
    heard_s = len(items[0]["samples"]) / RATE_HZ
    attention = drawn(over_time(rows[0], begin_s=0.0, duration_s=heard_s))
    return Response(labels=labels, start_s=0.0, attention=attention)


def cost(item: Item) -> int:
    return len(item["samples"])
