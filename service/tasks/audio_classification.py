"""spoken word → the most likely keywords with their probabilities.

The model hears one second. Shorter recordings are padded on both sides; longer ones are heard
second by second, half overlapping, and the second with the surest keyword decides.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float32
from numpy import ndarray
from pydantic import BaseModel, Field

from service.audio import decode, mel_filters, power_spectrogram
from service.contract import Graph, Tensor
from service.schema import RequestModel, ResponseModel, Score
from service.session import Runner, rows_of
from service.tasks import Item, Row, stack

RPC = "ClassifyAudio"
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
    """Find the keyword that is spoken in a recording."""

    audio: bytes = Field(
        min_length=1,
        max_length=MAX_AUDIO_BYTES,
        description="A WAV, FLAC, MP3 or OGG file of up to 10 MiB and 60 s.",
    )
    top_k: int = Field(default=5, ge=1, le=12, description="Labels wanted, the likeliest first.")


class Label(BaseModel):
    """A keyword and how likely it is."""

    label: str = Field(description="A keyword, `_unknown_` for other speech, `_silence_` for none.")
    score: Score = Field(description="Probability of the label, over all labels of the model.")


class Response(ResponseModel):
    """The likeliest labels of the second that decided."""

    labels: list[Label]
    start_s: float = Field(description="Where in the recording that second starts.")


CONTRACT = {
    "model": Graph(
        inputs={"features": Tensor("float32", ("batch", FRAMES, MELS))},
        outputs={"logits": Tensor("float32", ("batch", None))},
    )
}


def load_assets(folder: Path) -> tuple[str, ...]:
    """The labels of `labels.json`, in the order of the model's classes."""
    return tuple(json.loads((folder / "labels.json").read_text()))


def features(
    samples: Float32[ndarray, "*batch samples"],
) -> Float32[ndarray, "*batch frames mels"]:
    """Logarithm of the mel spectrum every 10 ms, scaled to about -2..2 over Speech Commands."""
    power = power_spectrogram(samples, n_fft=N_FFT, hop=HOP_SAMPLES, window=_HANN)
    scaled: Float32[ndarray, "*batch frames mels"] = (np.log(power @ _FILTERS + 1e-9) + 10) / 5
    return scaled


def starts(samples: int) -> list[int]:
    """Where the seconds of a recording start; the last one ends where the recording does."""
    last = max(0, samples - WINDOW_SAMPLES)
    return [*range(0, last, STRIDE_SAMPLES), last]


def preprocess(request: Request, assets: tuple[str, ...]) -> list[Item]:
    """One item per second heard."""
    samples = decode(request.audio, field="audio", rate_hz=RATE_HZ, max_duration_s=MAX_DURATION_S)
    missing = max(0, WINDOW_SAMPLES - len(samples))
    padded = np.pad(samples, (missing // 2, missing - missing // 2))
    return [
        {
            "features": features(padded[start : start + WINDOW_SAMPLES]),
            "start_s": np.array(start / RATE_HZ),
        }
        for start in starts(len(padded))
    ]


def forward(model: Runner, assets: tuple[str, ...], items: Sequence[Item]) -> list[Row]:
    return rows_of(model.run("model", {"features": stack(items, "features")}))


def postprocess(
    request: Request, assets: tuple[str, ...], items: Sequence[Item], rows: Sequence[Row]
) -> Response:
    """The labels of the second in which a keyword is likeliest; its scores are not mixed."""
    logits = np.stack([row["logits"] for row in rows])
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities = odds / odds.sum(axis=1, keepdims=True)
    keyword = np.array([not label.startswith("_") for label in assets])
    decides = int((probabilities * keyword).max(axis=1).argmax())
    scores = probabilities[decides]
    best = np.argsort(-scores, kind="stable")[: request.top_k]
    return Response(
        labels=[Label(label=assets[index], score=float(scores[index])) for index in best],
        start_s=float(items[decides]["start_s"]),
    )


def cost(item: Item) -> int:
    return len(item["features"])


def example() -> Request:
    recording = Path(__file__).parents[1] / "examples" / "yes.flac"
    return Request(audio=recording.read_bytes())
