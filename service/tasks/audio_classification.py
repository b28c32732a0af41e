"""spoken word → the most likely keywords with their probabilities.

The model hears one second, or as much as its `preprocessor_config.json` says. Shorter recordings
are padded; longer ones are heard piece by piece, half overlapping, and the piece with the surest
keyword decides. A model with truncated attention has a second graph, for live streams.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32
from numpy import ndarray
from pydantic import BaseModel, Field

from service import cepstrum, pixels
from service.audio import decode, mel_filters, power_spectrogram
from service.contract import Graph, Tensor
from service.explanation import GRAPH as EXPLAINING
from service.explanation import MARK, Weights, drawn, over_time
from service.fbank import Fbank
from service.live.events import KeywordEvent
from service.schema import RequestModel, ResponseModel, Score
from service.session import Runner, rows_of
from service.tasks import Item, Row, stack

RPC = "ClassifyAudio"
LIVE = KeywordEvent
EXPECTED = "yes"
MAX_AUDIO_BYTES = 10 * 2**20
MAX_DURATION_S = 60
RATE_HZ = 16_000
WINDOW_SAMPLES = RATE_HZ
STRIDE_SAMPLES = WINDOW_SAMPLES // 2
FRAMES, MELS = 98, 64
MAX_BATCH_COST = 64 * FRAMES
"""Frames in one batch."""
N_FFT = 512
HOP_SAMPLES = 160
_HANN = np.hanning(401)[:-1].astype(np.float32)
"""25 ms, periodic."""
_FILTERS = mel_filters(rate_hz=RATE_HZ, n_fft=N_FFT, mels=MELS, min_hz=20, max_hz=7_600)


class Request(RequestModel):
    """Find the keyword that is spoken in a recording, or what is heard."""

    audio: bytes = Field(
        min_length=1,
        max_length=MAX_AUDIO_BYTES,
        description="A WAV, FLAC, MP3 or OGG file of up to 10 MiB and 60 s.",
    )
    top_k: int = Field(default=5, ge=1, le=100, description="Labels wanted, the likeliest first.")


class Label(BaseModel):
    """A keyword and how likely it is."""

    label: str = Field(description="A keyword, `_unknown_` for other speech, `_silence_` for none.")
    score: Score = Field(description="Probability of the label, over all labels of the model.")


class Response(ResponseModel):
    """The likeliest labels of the piece that decided."""

    labels: list[Label]
    start_s: float = Field(description="Where in the recording that piece starts.")


_FEATURES = {"features": Tensor("float32", ("batch", None, None))}
_LOGITS = {"logits": Tensor("float32", ("batch", None))}
CONTRACT = {
    "model": Graph(inputs=_FEATURES, outputs=_LOGITS),
    "attention": Graph(
        inputs=_FEATURES,
        outputs={
            **_LOGITS,
            "rollout": Tensor("float32", ("batch", None)),
            "heads": Tensor("float32", ("batch", None, None, None)),
        },
        aside=True,
    ),
    # A piece of a stream → the logits of some positions in it, and the frames in their middles.
    "stream": Graph(
        inputs={"frames": Tensor("float32", ("batch", None, None))},
        outputs={
            "logits": Tensor("float32", ("batch", None, None)),
            "middles": Tensor("int64", ("batch", None)),
        },
        aside=True,
    ),
}


Features = Float32[ndarray, "frames mels"]


def features(
    samples: Float32[ndarray, "*batch samples"],
) -> Float32[ndarray, "*batch frames mels"]:
    """Logarithm of the mel spectrum every 10 ms, scaled to about -2..2 over Speech Commands."""
    power = power_spectrogram(samples, n_fft=N_FFT, hop=HOP_SAMPLES, window=_HANN)
    scaled: Float32[ndarray, "*batch frames mels"] = (np.log(power @ _FILTERS + 1e-9) + 10) / 5
    return scaled


def middle(samples: Float32[ndarray, " samples"]) -> Float32[ndarray, " second"]:
    """A second in whose middle the samples lie."""
    missing = WINDOW_SAMPLES - len(samples)
    return np.pad(samples, (missing // 2, missing - missing // 2))


def of_a_second(samples: Float32[ndarray, " samples"]) -> Features:
    """What a model that was trained here takes."""
    return features(middle(samples))


@dataclass(frozen=True)
class Assets:
    """The labels in the order of the classes, and what the model hears of a recording."""

    labels: Sequence[str]
    window_samples: int = WINDOW_SAMPLES
    features: Callable[[Float32[ndarray, " samples"]], Features] = of_a_second
    """Samples of at most one window → what the model takes."""
    centred: bool = True
    """Less than a window lies in its middle, else at its beginning."""


def load_assets(folder: Path) -> Assets:
    """Read `labels.json` and the file that says what the features are, if there is one."""
    labels = tuple(json.loads((folder / "labels.json").read_text(encoding="utf-8")))
    if (folder / cepstrum.NAME).exists():
        made = cepstrum.Cepstrum(folder / cepstrum.NAME)
        return Assets(labels, features=lambda samples: made(middle(samples)))
    if (folder / pixels.NAME).exists():
        fbank = Fbank.read(folder / pixels.NAME)
        return Assets(labels, fbank.samples, fbank, centred=False)
    return Assets(labels)


def starts(samples: int, window_samples: int = WINDOW_SAMPLES) -> list[int]:
    """Where the pieces of a recording start; the last one ends where the recording does."""
    last = max(0, samples - window_samples)
    return [*range(0, last, window_samples // 2), last]


def preprocess(request: Request, assets: Assets) -> list[Item]:
    """One item per piece; `heard_s` is where what the model hears of it begins."""
    samples = decode(request.audio, field="audio", rate_hz=RATE_HZ, max_duration_s=MAX_DURATION_S)
    window = assets.window_samples
    lead = max(0, window - len(samples)) // 2 if assets.centred else 0
    return [
        {
            "features": assets.features(samples[start : start + window]),
            "start_s": np.array(start / RATE_HZ),
            "heard_s": np.array((start - lead) / RATE_HZ),
        }
        for start in starts(len(samples), window)
    ]


def forward(model: Runner, assets: Assets, items: Sequence[Item]) -> list[Row]:
    """Pieces of recordings and of live streams share a batch, but no graph."""
    rows: list[Row] = [{}] * len(items)
    for graph in dict.fromkeys(map(_graph, items)):
        places = [place for place, item in enumerate(items) if _graph(item) == graph]
        name = "frames" if graph == "stream" else "features"
        taken = stack([items[place] for place in places], name)
        for place, row in zip(places, rows_of(model.run(graph, {name: taken})), strict=True):
            rows[place] = row
    return rows


def _graph(item: Item) -> str:
    """The one that takes an item: for live streams, for those who ask for its attention, or for
    all others."""
    return "stream" if "frames" in item else EXPLAINING if MARK in item else "model"


def postprocess(
    request: Request, assets: Assets, items: Sequence[Item], rows: Sequence[Row]
) -> Response:
    """The labels of the piece in which a keyword is likeliest; its scores are not mixed."""
    logits = np.stack([row["logits"] for row in rows])
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities = odds / odds.sum(axis=1, keepdims=True)
    keyword = np.array([not label.startswith("_") for label in assets.labels])
    decides = int((probabilities * keyword).max(axis=1).argmax())
    scores = probabilities[decides]
    best = np.argsort(-scores, kind="stable")[: request.top_k]
    return Response(
        labels=[Label(label=assets.labels[index], score=float(scores[index])) for index in best],
        start_s=float(items[decides]["start_s"]),
        attention=drawn(_maps(items[decides], rows[decides], assets)),
    )


def _maps(item: Item, row: Row, assets: Assets) -> Iterator[Weights]:
    """How much of each place of a piece is in its answer."""
    if "rollout" in row:
        window_s = assets.window_samples / RATE_HZ
        yield from over_time(row, begin_s=float(item["heard_s"]), duration_s=window_s)


def cost(item: Item) -> int:
    return len(item["features"] if "features" in item else item["frames"])


def example() -> Request:
    recording = Path(__file__).parents[1] / "examples" / "yes.flac"
    return Request(audio=recording.read_bytes())
