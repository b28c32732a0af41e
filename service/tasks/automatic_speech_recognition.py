"""speech → text with times: encoder-decoder speech recognition after Whisper.

A recording is cut at pauses into windows of up to 30 s. Each is one item of its own, so that the
windows of one long recording fill batches, and those of many short ones do too.
"""

from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float32
from numpy import ndarray
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from service import audio
from service.contract import Graph, Tensor, decoding_step, encoded
from service.decoder import complete
from service.errors import InvalidInput
from service.explanation import Axis, Weights, drawn
from service.live.events import LiveEvent
from service.log_mel import FRAMES, RATE_HZ, log_mel
from service.schema import RequestModel, ResponseModel, Score
from service.session import Runner
from service.speech.assets import MAX_CONTEXT_TOKENS, Assets, load_assets
from service.speech.window import MAX_NEW_TOKENS, compression_ratio, generate
from service.speech.words import timed_words
from service.tasks import Item, Row, stack
from service.transcript import TIMESTAMP_S, timed_texts, windows

__all__ = ["MAX_NEW_TOKENS", "Assets", "generate", "load_assets"]

RPC = "Transcribe"
LIVE = LiveEvent
EXPECTED = "open the window"
MAX_BATCH_COST = 8
"""Windows in one batch; the keys and values of one take 18 MB (tiny) or 37 MB (base)."""
MAX_AUDIO_BYTES = 25 * 2**20
MAX_DURATION_S = 1_800
MAX_ROWS = 16
"""Windows that are decoded together."""
MAX_LEN = 5 + MAX_CONTEXT_TOKENS + MAX_NEW_TOKENS
"""What was said before with a token that says so, the longest prompt, the tokens of one window."""
MAX_ENCODE_COST = 2
"""Windows that are encoded together: what lies between the layers of more is beyond the caches."""
BESIDE = False
DETECTED = "auto"
"""The language that asks for detection."""
MAX_PROMPT_CHARS = 4_000


class Request(RequestModel):
    """Transcribe a recording."""

    audio: bytes = Field(
        min_length=1,
        max_length=MAX_AUDIO_BYTES,
        description="A WAV, FLAC, MP3 or OGG file of up to 25 MiB and 30 minutes.",
    )
    language: str = Field(
        default=DETECTED,
        min_length=2,
        max_length=4,
        description=f"Language spoken, as en; {DETECTED}: what its first window sounds like.",
    )
    task: Literal["transcribe", "translate"] = Field(
        default="transcribe", description="Text in the language spoken, or in English."
    )
    timestamps: bool = Field(
        default=False,
        description="Segments are sentences, with their times; else windows of up to 30 s.",
    )
    words: bool = Field(
        default=False, description="Segments have their words with times; not every model can."
    )
    prompt: str = Field(
        default="",
        max_length=MAX_PROMPT_CHARS,
        description=f"What was said before, or how names are written; its last {MAX_CONTEXT_TOKENS}"
        " tokens count.",
    )
    temperature: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="Texts are drawn at it, above 0, and doubtful ones again at higher ones.",
    )


class Word(BaseModel):
    """A word with the punctuation at its sides."""

    start_s: float
    end_s: float
    text: str


class Segment(BaseModel):
    """A piece of the recording that is one or a few sentences."""

    start_s: float
    end_s: float
    text: str
    tokens: list[int] = []
    avg_logprob: Score | None = Field(default=None, description="Of its window; nearer 0 is surer.")
    no_speech_prob: Score | None = Field(default=None, description="Of its window.")
    compression_ratio: Score | None = Field(default=None, description="High for repetitions.")
    temperature: float | None = Field(default=None, description="At which its window was drawn.")
    words: list[Word] = Field(default=[], description="Where they were asked for.")


class Response(ResponseModel):
    """What was said, as one text and piece by piece; empty where there is no speech."""

    text: str
    language: str
    duration_s: float = Field(description="Length of the recording.")
    segments: list[Segment]


CONTRACT = {
    "encoder": Graph(
        inputs={"features": Tensor("float32", ("batch", None, FRAMES))},
        outputs=encoded(src_len=None),
    ),
    "folded": Graph(
        inputs={
            "begins": Tensor("int64", ("groups",)),
            "features": Tensor("float32", ("batch", None, FRAMES)),
        },
        outputs=encoded(src_len=None),
        aside=True,
    ),
    "decoder": decoding_step({}),
    "alignment": Graph(
        inputs={
            "features": Tensor("float32", ("batch", None, FRAMES)),
            "tokens": Tensor("int64", ("batch", "tgt_len")),
        },
        outputs={"weights": Tensor("float32", ("batch", None, "tgt_len", None))},
        aside=True,
    ),
}


def prompt_of(request: Request, assets: Assets) -> list[int]:
    """The tokens before the transcript of each window."""
    return assets.prompt(
        language=request.language,
        task=request.task,
        timestamps=request.timestamps,
        context=request.prompt,
    )


def check(request: Request, assets: Assets) -> None:
    """Raises InvalidInput for what this model does not know."""
    names = [DETECTED, *sorted(assets.languages or {"en": 0})]
    if request.language not in names:
        raise InvalidInput(f"{request.language!r} is not one of {', '.join(names)}", "language")
    if request.task == "translate" and not assets.languages:
        raise InvalidInput("an English-only model has nothing to translate", "task")
    if request.words and not assets.aligns:
        raise InvalidInput("this model was exported without the graph that times words", "words")


def item_of(
    request: Request, assets: Assets, start: int, samples: Float32[ndarray, " samples"]
) -> Item:
    """A window of a recording that begins at sample `start`."""
    temperature = np.nan if request.temperature is None else request.temperature
    wanted = {"words": np.array(True)} if request.words else {}
    return {
        **wanted,
        "features": log_mel(samples, mels=assets.mels),
        "prompt": np.array(prompt_of(request, assets)),
        "temperature": np.array(temperature),
        "start_s": np.array(start / RATE_HZ),
        "end_s": np.array((start + len(samples)) / RATE_HZ),
    }


def preprocess(request: Request, assets: Assets) -> list[Item]:
    """One item per window, with the features of its samples."""
    check(request, assets)
    samples = audio.decode(
        request.audio, field="audio", rate_hz=RATE_HZ, max_duration_s=MAX_DURATION_S
    )
    spans = windows(samples)
    items = [item_of(request, assets, start, samples[start:stop]) for start, stop in spans]
    # All windows are in the language of the first.
    return [{**item, "opening": items[0]["features"]} for item in items]


def _groups(each: Item) -> int:
    """Into which what is encoded is put; 0 where every position is encoded by itself."""
    return len(each.get("begins", ()))


def _together(inputs: Sequence[Item]) -> Iterator[list[int]]:
    """Places of those that are encoded together: all folded as each of them alone would be."""
    order = sorted(range(len(inputs)), key=lambda at: _groups(inputs[at]))
    for _, found in groupby(order, key=lambda at: _groups(inputs[at])):
        alike = list(found)
        for start in range(0, len(alike), MAX_ENCODE_COST):
            yield alike[start : start + MAX_ENCODE_COST]


def encode(model: Runner, inputs: Sequence[Item]) -> dict[str, NDArray[Any]]:
    """Features of many windows → keys and values of the decoder's attention to them."""
    given: dict[str, NDArray[Any]] = {}
    for places in _together(inputs):
        some = [inputs[at] for at in places]
        features = {"features": stack(some, "features")}
        folded = {"begins": some[0]["begins"]} if _groups(some[0]) else {}
        part = model.run("folded" if folded else "encoder", {**folded, **features})
        if len(some) == len(inputs):
            return part
        for name, array in part.items():
            kept = given.setdefault(name, np.empty((len(inputs), *array.shape[1:]), array.dtype))
            kept[places] = array
    return given


def forward(model: Runner, assets: Assets, items: Sequence[Item]) -> list[Row]:
    return complete(model, encode, [generate(item, assets) for item in items])


def _texts(
    item: Item, tokens: Sequence[int], assets: Assets
) -> Iterator[tuple[float, float, str, list[int]]]:
    """What was said in a window: times in the recording, text and tokens of each piece; there are
    pieces without text."""
    start_s, end_s = float(item["start_s"]), float(item["end_s"])
    timed = timed_texts(tokens, first=assets.first_timestamp, duration_s=end_s - start_s)
    for begin_s, stop_s, said in timed:
        text = assets.tokenizer.decode(said).strip()
        yield round(start_s + begin_s, 2), round(start_s + stop_s, 2), text, said


def _words(item: Item, row: Row, begin: int, tokens: Sequence[int], assets: Assets) -> list[Word]:
    """Those of a text whose tokens are in the window's behind `begin` others; maybe none."""
    times_s = row["times_s"][begin : begin + len(tokens)] + float(item["start_s"])
    if not len(times_s):
        return []
    language = assets.spoken(row["language"])
    begins_s, last_s = times_s[:, 0].tolist(), float(times_s[-1, 1])
    return [
        Word(start_s=round(word.start_s, 2), end_s=round(word.end_s, 2), text=word.text)
        for word in timed_words(tokens, [*begins_s, last_s], assets.tokenizer, language)
    ]


def _segments(item: Item, row: Row, assets: Assets) -> Iterator[Segment]:
    """Where its words are known, a segment begins with the first and ends with the last."""
    begin = 0
    for start_s, end_s, text, tokens in _texts(item, row["tokens"].tolist(), assets):
        words = _words(item, row, begin, tokens, assets)
        begin += len(tokens)
        if not text:
            continue
        yield Segment(
            start_s=words[0].start_s if words else start_s,
            end_s=words[-1].end_s if words else end_s,
            words=words,
            text=text,
            tokens=tokens,
            avg_logprob=float(row["score"]),
            no_speech_prob=float(row["no_speech"]),
            compression_ratio=compression_ratio(text),
            temperature=float(np.nan_to_num(row["temperature"])),
        )


def continued(text: str, item: Item, tokens: Sequence[int], assets: Assets) -> str:
    """A text with what was said in the window that follows."""
    said = (piece for _, _, piece, _ in _texts(item, tokens, assets))
    return " ".join(filter(None, (text, *said)))


def texts(response: Response) -> list[str]:
    return [response.text]


def postprocess(
    request: Request, assets: Assets, items: Sequence[Item], rows: Sequence[Row]
) -> Response:
    """Join the windows; times count from the start of the recording."""
    segments = [
        segment
        for item, row in zip(items, rows, strict=True)
        for segment in _segments(item, row, assets)
    ]
    return Response(
        text=" ".join(segment.text for segment in segments),
        language=assets.spoken(rows[0]["language"]),
        duration_s=round(float(items[-1]["end_s"]), 3),
        segments=segments,
        attention=drawn(_alignments(items, rows, assets)),
    )


def _alignments(items: Sequence[Item], rows: Sequence[Row], assets: Assets) -> Iterator[Weights]:
    """Where the heads that follow speech listened for each token of each window."""
    for item, row in zip(items, rows, strict=True):
        if "weights" not in row:
            continue
        start_s, end_s = float(item["start_s"]), float(item["end_s"])
        frames = max(1, round((end_s - start_s) / TIMESTAMP_S))
        begins_s = (start_s + TIMESTAMP_S * np.arange(frames)).round(2).tolist()
        labels = [assets.tokenizer.decode([token]) for token in row["text"].tolist()]
        axes = [
            Axis(name="token", size=len(labels), labels=labels),
            Axis(name="time", size=frames, begins_s=begins_s),
        ]
        yield Weights("alignment", row["weights"][..., :frames], ["head", *axes])


def rows(item: Item) -> int:
    return 1


def cost(item: Item) -> int:
    return 1


def example() -> Request:
    speech = Path(__file__).parents[1] / "examples" / "speech.flac"
    return Request(audio=speech.read_bytes())
