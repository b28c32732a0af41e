"""speech → text with times: encoder-decoder speech recognition after Whisper.

A recording is cut at pauses into windows of up to 30 s. Each is one item of its own, so that the
windows of one long recording fill batches, and those of many short ones do too.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field
from tokenizers import Tokenizer

from service import audio
from service.candidates import log_sum_exp
from service.contract import Graph, Tensor, decoding_step
from service.decoder import Way, complete
from service.errors import InvalidInput
from service.log_mel import FRAMES, HOP, MELS, RATE_HZ, later, log_mel
from service.schema import RequestModel, ResponseModel
from service.search import Logits, Rule, Search
from service.session import Runner
from service.tasks import Item, Row, stack
from service.transcript import (
    TIMESTAMP_S,
    loop,
    text_rule,
    timed_texts,
    timestamp_rule,
    unheard,
    windows,
)

RPC = "Transcribe"
LIVE = True
EXPECTED = "open the window"
MAX_BATCH_COST = 8
"""Windows in one batch; the keys and values of one take 18 MB (tiny) or 37 MB (base)."""
MAX_AUDIO_BYTES = 25 * 2**20
MAX_DURATION_S = 1_800
MAX_NEW_TOKENS = 224
"""Tokens of one window; half of what the decoder has positions for, as in OpenAI's decoder."""
MAX_ROWS = 16
"""Windows that are decoded together."""
MAX_LEN = 4 + MAX_NEW_TOKENS
"""The longest prompt and the tokens of one window."""
MAX_ENCODE_COST = 2
BESIDE = False
NO_SPEECH_PROBABILITY = 0.6
NO_SPEECH_SCORE = -1.0
"""A window is silent if both say so: OpenAI's thresholds."""
SURE_SILENCE_PROBABILITY = 0.9
"""Above this alone: digital silence gives 0.95 and a confident "you", speech at 0 dB SNR 0.3."""
MAX_BANNED = 3
"""Further attempts at a window whose text loops; it is given up after them."""
TIMESTAMP_FRAMES = round(TIMESTAMP_S * RATE_HZ / HOP)
DETECTED = "auto"
"""The language that asks for detection."""
ENGLISH_TOKENS = 50_363
"""Tokens before the timestamps of the English-only models; the multilingual ones have one more."""


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


class Segment(BaseModel):
    """A piece of the recording that is one or a few sentences."""

    start_s: float
    end_s: float
    text: str


class Response(ResponseModel):
    """What was said, as one text and piece by piece; empty where there is no speech."""

    text: str
    language: str
    duration_s: float = Field(description="Length of the recording.")
    segments: list[Segment]


_MEMORY = Tensor("float32", ("batch", None, None, None), cached=True)
CONTRACT = {
    "encoder": Graph(
        inputs={"features": Tensor("float32", ("batch", None, FRAMES))},
        outputs={"cross_key_*": _MEMORY, "cross_value_*": _MEMORY},
    ),
    "decoder": decoding_step({}),
}


@dataclass(frozen=True)
class Assets:
    """The tokenizer, and the tokens that are not text."""

    tokenizer: Tokenizer
    start: int
    end: int
    tasks: Mapping[str, int]
    """transcribe and translate → token."""
    no_speech: int
    no_timestamps: int
    languages: Mapping[str, int]
    """Code → token; empty for an English-only model."""
    suppressed: NDArray[np.int64]
    suppressed_first: NDArray[np.int64]
    mels: int = MELS

    @property
    def first_timestamp(self) -> int:
        return self.no_timestamps + 1

    def prompt(self, request: Request) -> list[int]:
        """The tokens before the transcript; the start stands for a language yet to be found."""
        language = self.languages.get(request.language, self.start)
        spoken = [language, self.tasks[request.task]] if self.languages else []
        return [self.start, *spoken, *([] if request.timestamps else [self.no_timestamps])]

    def language(self, logits: Logits) -> int:
        """The token of the likeliest language, by the logits behind the start."""
        tokens = list(self.languages.values())
        return tokens[int(logits[tokens].argmax())]

    def spoken(self, tokens: NDArray[np.int64]) -> str:
        """The code of the language whose token stands in a prompt, or that of no other model."""
        codes = {token: code for code, token in self.languages.items()}
        return codes[int(tokens[0])] if codes else "en"

    def rule(self, prompt: Sequence[int], banned: Sequence[int]) -> Rule:
        """What may come next behind `prompt`; the banned tokens never."""
        never = (self.no_timestamps, self.no_speech)
        suppressed = np.array([*self.suppressed, *never, *banned], np.int64)
        if prompt[-1] != self.no_timestamps:
            return timestamp_rule(first=self.first_timestamp, end=self.end, suppressed=suppressed)
        return text_rule(
            first=self.first_timestamp,
            end=self.end,
            suppressed=suppressed,
            suppressed_first=self.suppressed_first,
        )


def _id(tokenizer: Tokenizer, token: str) -> int:
    id_ = tokenizer.token_to_id(token)
    if id_ is None:
        raise ValueError(f"the vocabulary lacks {token}")
    return id_


def load_assets(folder: Path) -> Assets:
    """Read `tokenizer.json`, and the suppressed tokens and languages of `config.json`.

    Timestamps are the tokens behind the tokenizer's last.
    """
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    config = json.loads((folder / "config.json").read_text())
    added = tokenizer.get_added_tokens_decoder().items()
    languages = {token.content[2:-2]: id for id, token in added if id in set(config["lang_ids"])}
    no_timestamps = _id(tokenizer, "<|notimestamps|>")
    silent = "<|nospeech|>" if tokenizer.token_to_id("<|nospeech|>") else "<|nocaptions|>"
    return Assets(
        tokenizer,
        start=_id(tokenizer, "<|startoftranscript|>"),
        end=_id(tokenizer, "<|endoftext|>"),
        tasks={task: _id(tokenizer, f"<|{task}|>") for task in ("transcribe", "translate")},
        no_speech=_id(tokenizer, silent),
        no_timestamps=no_timestamps,
        languages=languages if no_timestamps >= ENGLISH_TOKENS else {},
        suppressed=np.array(config["suppress_ids"], np.int64),
        suppressed_first=np.array(config["suppress_ids_begin"], np.int64),
        mels=config.get("mels", MELS),
    )


def preprocess(request: Request, assets: Assets) -> list[Item]:
    """One item per window, with the features of its samples."""
    known = assets.languages or {"en": 0}
    names = [DETECTED, *sorted(known)]
    if request.language not in names:
        raise InvalidInput(f"{request.language!r} is not one of {', '.join(names)}", "language")
    if request.task == "translate" and not assets.languages:
        raise InvalidInput("an English-only model has nothing to translate", "task")
    samples = audio.decode(
        request.audio, field="audio", rate_hz=RATE_HZ, max_duration_s=MAX_DURATION_S
    )
    prompt = np.array(assets.prompt(request))
    spans = windows(samples)
    features = [log_mel(samples[start:stop], mels=assets.mels) for start, stop in spans]
    return [
        {
            "features": heard,
            # All windows are in the language of the first.
            "opening": features[0],
            "prompt": prompt,
            "start_s": np.array(start / RATE_HZ),
            "end_s": np.array(stop / RATE_HZ),
        }
        for heard, (start, stop) in zip(features, spans, strict=True)
    ]


def encode(model: Runner, inputs: Sequence[Item]) -> dict[str, NDArray[Any]]:
    """Features of many windows → keys and values of the decoder's attention to them."""
    return model.run("encoder", {"features": stack(inputs, "features")})


def generate(item: Item, assets: Assets) -> Way:
    """The tokens of one window, found greedily; none where there is no speech.

    Where a transcript stops short of its window's end, the rest is transcribed too, and its tokens
    are appended with their times moved on. A window whose text loops is transcribed again without
    the token it loops on, where OpenAI's decoder would draw another text at random.

    A language that is not known is heard behind the start token: in the first window on the way,
    in those that follow by a search of its own.
    """
    first = assets.first_timestamp
    prompt = item["prompt"].tolist()
    duration_s = float(item["end_s"] - item["start_s"])
    tokens: list[int] = []
    banned: list[int] = []
    offset = 0
    no_speech = 0.0

    def moved(found: Sequence[int]) -> list[int]:
        return [token + offset * (token >= first) for token in found]

    def standing(certain: list[int]) -> list[int]:
        # What may yet be taken for silence is not shown. A text that loops is, and is taken back.
        return tokens + (moved(certain) if no_speech <= NO_SPEECH_PROBABILITY else [])

    def hear(logits: Logits) -> None:
        nonlocal no_speech
        no_speech = float(np.exp(logits[assets.no_speech] - log_sum_exp(logits[None])[0]))
        if prompt[1:2] == [assets.start]:
            prompt[1] = assets.language(logits)

    if prompt[1:2] == [assets.start] and float(item["start_s"]):
        yield Search(
            prompt=[assets.start],
            end=assets.end,
            max_new_tokens=1,
            first=hear,
            inputs={"features": item["opening"]},
            standing=lambda certain: [],
        )

    while True:
        best, *_ = yield Search(
            prompt=prompt,
            end=assets.end,
            max_new_tokens=MAX_NEW_TOKENS,
            rule=assets.rule(prompt, banned),
            first=hear,
            inputs={"features": later(item["features"], offset * TIMESTAMP_FRAMES)},
            standing=standing,
        )
        unsure = no_speech > NO_SPEECH_PROBABILITY and best.score < NO_SPEECH_SCORE
        if unsure or no_speech > SURE_SILENCE_PROBABILITY:
            break
        looped = loop(best.tokens, first=first)
        if looped is not None:
            if len(banned) == MAX_BANNED:
                break
            banned.append(looped)
            continue
        banned = []
        tokens += moved(best.tokens)
        heard = unheard(tokens, first=first, duration_s=duration_s)
        if heard <= offset:
            break
        offset = heard
    return {"tokens": np.array(tokens, np.int64), "language": np.array(prompt[1:2])}


def forward(model: Runner, assets: Assets, items: Sequence[Item]) -> list[Row]:
    return complete(model, encode, [generate(item, assets) for item in items])


def _segments(item: Item, tokens: Sequence[int], assets: Assets) -> Iterator[Segment]:
    """What was said in a window, with times of the recording."""
    start_s, end_s = float(item["start_s"]), float(item["end_s"])
    timed = timed_texts(tokens, first=assets.first_timestamp, duration_s=end_s - start_s)
    for begin_s, stop_s, said in timed:
        text = assets.tokenizer.decode(said).strip()
        if text:
            times = (round(start_s + time_s, 2) for time_s in (begin_s, stop_s))
            yield Segment(start_s=next(times), end_s=next(times), text=text)


def continued(text: str, item: Item, tokens: Sequence[int], assets: Assets) -> str:
    """A text with what was said in the window that follows."""
    said = (segment.text for segment in _segments(item, tokens, assets))
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
        for segment in _segments(item, row["tokens"].tolist(), assets)
    ]
    return Response(
        text=" ".join(segment.text for segment in segments),
        language=assets.spoken(rows[0]["language"]),
        duration_s=round(float(items[-1]["end_s"]), 3),
        segments=segments,
    )


def rows(item: Item) -> int:
    return 1


def cost(item: Item) -> int:
    return 1


def example() -> Request:
    speech = Path(__file__).parents[1] / "examples" / "speech.flac"
    return Request(audio=speech.read_bytes())
