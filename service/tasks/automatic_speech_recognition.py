"""speech → text with times: encoder-decoder speech recognition after Whisper.

A recording is cut at pauses into windows of up to 30 s. Each is one item of its own, so that the
windows of one long recording fill batches, and those of many short ones do too.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32
from numpy import ndarray
from numpy.typing import NDArray
from pydantic import BaseModel, Field
from tokenizers import Tokenizer

from service import audio
from service.contract import Graph, Tensor
from service.decoder import decode, log_softmax
from service.errors import InvalidInput
from service.log_mel import FRAMES, MELS, RATE_HZ, log_mel
from service.schema import RequestModel, ResponseModel
from service.session import Runner
from service.tasks import Item, Row, stack
from service.transcript import timed_texts, timestamp_rule, windows

RPC = "Transcribe"
EXPECTED = "quick brown fox"
MAX_BATCH_COST = 8
"""Windows in one batch; the keys and values of one take 18 MB (tiny) or 37 MB (base)."""
MAX_AUDIO_BYTES = 25 * 2**20
MAX_DURATION_S = 1_800
MAX_NEW_TOKENS = 224
"""Tokens of one window; half of what the decoder has positions for, as in OpenAI's decoder."""
NO_SPEECH_PROBABILITY = 0.6
NO_SPEECH_SCORE = -1.0
"""A window is silent if both say so: OpenAI's thresholds."""
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
        default="en", min_length=2, max_length=3, description="Language spoken, as en."
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


_CACHE = ("batch", None, "max_len", None)
_MEMORY = ("batch", None, "src_len", None)
_ENCODED = Tensor("float32", ("batch", None, None, None))
CONTRACT = {
    "encoder": Graph(
        inputs={"features": Tensor("float32", ("batch", MELS, FRAMES))},
        outputs={"cross_key_*": _ENCODED, "cross_value_*": _ENCODED},
    ),
    "decoder": Graph(
        inputs={
            "tokens": Tensor("int64", ("batch", 1)),
            "past_lengths": Tensor("int64", ("batch",)),
            "cross_key_*": Tensor("float32", _MEMORY),
            "cross_value_*": Tensor("float32", _MEMORY),
            "past_key_*": Tensor("float32", _CACHE),
            "past_value_*": Tensor("float32", _CACHE),
        },
        outputs={
            "logits": Tensor("float32", ("batch", None)),
            "present_key_*": Tensor("float32", _CACHE),
            "present_value_*": Tensor("float32", _CACHE),
        },
    ),
}


@dataclass(frozen=True)
class Assets:
    """The tokenizer, and the tokens that are not text."""

    tokenizer: Tokenizer
    start: int
    end: int
    transcribe: int
    no_speech: int
    first_timestamp: int
    languages: Mapping[str, int]
    """Code → token; empty for an English-only model."""
    suppressed: NDArray[np.int64]

    def prompt(self, language: str) -> list[int]:
        """The tokens before the transcript."""
        if self.languages:
            return [self.start, self.languages[language], self.transcribe]
        return [self.start]


def load_assets(folder: Path) -> Assets:
    """Read `tokenizer.json`, and `suppress_ids` of the package's `config.json`.

    Timestamps are the tokens behind the tokenizer's last.
    """
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    config = json.loads((folder / "config.json").read_text())
    added = tokenizer.get_added_tokens_decoder().items()
    languages = {token.content[2:-2]: id for id, token in added if id in set(config["lang_ids"])}
    no_timestamps = tokenizer.token_to_id("<|notimestamps|>")
    return Assets(
        tokenizer,
        start=tokenizer.token_to_id("<|startoftranscript|>"),
        end=tokenizer.token_to_id("<|endoftext|>"),
        transcribe=tokenizer.token_to_id("<|transcribe|>"),
        no_speech=tokenizer.token_to_id("<|nocaptions|>"),
        first_timestamp=no_timestamps + 1,
        languages=languages if no_timestamps + 1 > ENGLISH_TOKENS else {},
        suppressed=np.array([*config["suppress_ids"], no_timestamps], np.int64),
    )


def preprocess(request: Request, assets: Assets) -> list[Item]:
    """One item per window, with the features of its samples."""
    known = assets.languages or {"en": 0}
    if request.language not in known:
        raise InvalidInput(
            f"{request.language!r} is not one of {', '.join(sorted(known))}", "language"
        )
    samples = audio.decode(
        request.audio, field="audio", rate_hz=RATE_HZ, max_duration_s=MAX_DURATION_S
    )
    prompt = np.array(assets.prompt(request.language))
    return [
        {
            "features": log_mel(samples[start:stop]),
            "prompt": prompt,
            "start_s": np.array(start / RATE_HZ),
            "end_s": np.array(stop / RATE_HZ),
        }
        for start, stop in windows(samples)
    ]


def no_speech_probabilities(
    model: Runner, assets: Assets, encoded: Mapping[str, ndarray]
) -> Float32[ndarray, " batch"]:
    """How likely `<|nocaptions|>` follows the start token, with which a transcript begins."""
    rows = len(next(iter(encoded.values())))
    step = {
        "tokens": np.full((rows, 1), assets.start),
        "past_lengths": np.zeros(rows, np.int64),
        **encoded,
        # Room for this one position, in the shape of the cross-attention's.
        **{
            name.replace("cross", "past", 1): np.zeros_like(array[:, :, :1])
            for name, array in encoded.items()
        },
    }
    logits = model.run("decoder", step)["logits"]
    probabilities: Float32[ndarray, " batch"] = np.exp(log_softmax(logits)[:, assets.no_speech])
    return probabilities


def forward(model: Runner, assets: Assets, items: Sequence[Item]) -> list[Row]:
    """Encode and decode greedily; a window without speech gives no tokens."""
    encoded = model.run("encoder", {"features": stack(items, "features")})
    no_speech = no_speech_probabilities(model, assets, encoded)
    rule = timestamp_rule(
        first=assets.first_timestamp, end=assets.end, suppressed=assets.suppressed
    )
    found = decode(
        model,
        encoded,
        prompts=[item["prompt"].tolist() for item in items],
        end=assets.end,
        max_new_tokens=[MAX_NEW_TOKENS] * len(items),
        rule=rule,
    )
    rows = []
    for hypotheses, probability in zip(found, no_speech, strict=True):
        best = hypotheses[0]
        silent = probability > NO_SPEECH_PROBABILITY and best.score < NO_SPEECH_SCORE
        rows.append({"tokens": np.array([] if silent else best.tokens, np.int64)})
    return rows


def postprocess(
    request: Request, assets: Assets, items: Sequence[Item], rows: Sequence[Row]
) -> Response:
    """Join the windows; times count from the start of the recording."""
    segments = []
    for item, row in zip(items, rows, strict=True):
        start_s, end_s = float(item["start_s"]), float(item["end_s"])
        texts = timed_texts(
            row["tokens"].tolist(), first=assets.first_timestamp, duration_s=end_s - start_s
        )
        for begin_s, stop_s, tokens in texts:
            text = assets.tokenizer.decode(tokens).strip()
            if text:
                times = (round(start_s + time_s, 2) for time_s in (begin_s, stop_s))
                segments.append(Segment(start_s=next(times), end_s=next(times), text=text))
    return Response(
        text=" ".join(segment.text for segment in segments),
        language=request.language,
        duration_s=round(float(items[-1]["end_s"]), 3),
        segments=segments,
    )


def cost(item: Item) -> int:
    return 1


def example() -> Request:
    speech = Path(__file__).parents[1] / "examples" / "speech.flac"
    return Request(audio=speech.read_bytes())
