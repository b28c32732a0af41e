"""multipart form of OpenAI's audio API → a typed request, or the field that is to blame.

https://platform.openai.com/docs/api-reference/audio
"""

import re
from collections.abc import Iterable
from typing import Any, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_core import from_json
from starlette.requests import Request

from service.errors import InvalidInput, MalformedRequest, UnsupportedMedia, refusal
from service.http_body import chunks, form_items
from service.speech.languages import CODES
from service.speech.pieces import Cutting
from service.tasks.automatic_speech_recognition import DETECTED, MAX_PROMPT_CHARS

Format = Literal["json", "text", "srt", "verbose_json", "vtt"]
Granularity = Literal["word", "segment"]
FILE = "file"
NESTED = re.compile(r"(\w{1,64})\[(\w{0,64})\]")
"""Lists have `[]` behind their name, what stands in an object its own name in brackets."""


class ServerVad(BaseModel):
    """How a recording is cut."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    type: Literal["server_vad"]
    threshold: float = Field(default=0.5, gt=0.15, lt=1, description="From here on it is speech.")
    prefix_padding_ms: int = Field(default=300, ge=0, le=2_000, description="Kept around speech.")
    silence_duration_ms: int = Field(
        default=200, ge=0, le=10_000, description="A pause so long may be cut in."
    )


class Translation(BaseModel):
    """Translate speech into English; the recording is the part `file`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str = Field(max_length=256, description="An id of /v1/models, as whisper-1.")
    prompt: str = Field(
        default="",
        max_length=MAX_PROMPT_CHARS,
        description="What was said before, or how names are written.",
    )
    response_format: Format = "json"
    temperature: float = Field(
        default=0,
        ge=0,
        le=1,
        description="Texts are drawn at it, and doubtful ones again at higher ones.",
    )

    @property
    def times(self) -> list[Granularity]:
        """What the answer says the times of."""
        return [] if self.response_format in ("json", "text") else ["segment"]

    @property
    def streamed(self) -> bool:
        """Whether the answer comes as events."""
        return False

    @property
    def cutting(self) -> Cutting | None:
        """How the recording is to be cut, if that was said."""
        return None

    def fields(self) -> dict[str, Any]:
        """Of the task's request, beside the recording."""
        return {
            "task": "translate",
            "prompt": self.prompt,
            "temperature": self.temperature,
            "timestamps": bool(self.times),
            "words": "word" in self.times,
        }


class Transcription(Translation):
    """Transcribe speech; the recording is the part `file`."""

    language: str | None = Field(
        default=None, max_length=16, description="As en or english; else it is heard."
    )
    timestamp_granularities: list[Granularity] = Field(
        default=["segment"], min_length=1, max_length=2, description="For verbose_json."
    )
    chunking_strategy: Literal["auto"] | ServerVad | None = Field(
        default=None, description="Cuts short recordings, too, where nobody speaks."
    )
    stream: bool = Field(
        default=False,
        description="Server-Sent Events, for json and text; nothing is drawn again.",
    )

    @field_validator("timestamp_granularities", mode="before")
    @classmethod
    def _one_or_several(cls, given: Any) -> Any:
        return given if isinstance(given, list) else [given]

    @field_validator("chunking_strategy", mode="before")
    @classmethod
    def _object(cls, given: Any) -> Any:
        return from_json(given) if isinstance(given, str) and given[:1] == "{" else given

    @model_validator(mode="after")
    def _what_goes_together(self) -> Self:
        if self.stream and self.response_format not in ("json", "text"):
            raise InvalidInput(
                f"{self.response_format} is not streamed: take json or text", "stream"
            )
        asked = "timestamp_granularities" in self.model_fields_set
        if asked and self.response_format != "verbose_json":
            raise InvalidInput("are for verbose_json", "timestamp_granularities")
        return self

    @property
    def times(self) -> list[Granularity]:
        return self.timestamp_granularities if super().times else []

    @property
    def streamed(self) -> bool:
        return self.stream

    @property
    def cutting(self) -> Cutting | None:
        vad = self.chunking_strategy
        if not isinstance(vad, ServerVad):
            return Cutting() if vad else None
        return Cutting(vad.threshold, vad.prefix_padding_ms, vad.silence_duration_ms)

    def fields(self) -> dict[str, Any]:
        language = CODES.get(self.language or "", self.language or DETECTED)
        fields = {**super().fields(), "task": "transcribe", "language": language}
        # What was sent cannot be drawn again.
        return {**fields, "temperature": self.temperature or None} if self.stream else fields


F = TypeVar("F", bound=Translation)


def fields_of(items: Iterable[tuple[str, str | bytes]]) -> dict[str, Any]:
    """Parts of a form → values, lists and objects by name; MalformedRequest where one is twice."""
    values: dict[str, Any] = {}
    for name, value in items:
        nested = NESTED.fullmatch(name)
        if nested and not nested[2]:
            listed = values.setdefault(nested[1], [])
            if isinstance(listed, list):
                listed.append(value)
                continue
        elif nested:
            inner = values.setdefault(nested[1], {})
            if isinstance(inner, dict) and nested[2] not in inner:
                inner[nested[2]] = value
                continue
        elif name not in values:
            values[name] = value
            continue
        raise MalformedRequest("was sent twice", name[:64])
    return values


async def read(request: Request, form: type[F], limit_bytes: int) -> tuple[F, bytes]:
    """The fields and the recording; raises a Problem that names the field."""
    media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media != "multipart/form-data":
        raise UnsupportedMedia("send multipart/form-data with a part file", "body")
    values = fields_of(await form_items(request.headers, chunks(request, limit_bytes)))
    recording = values.pop(FILE, None)
    if not isinstance(recording, bytes):
        raise InvalidInput("send the recording as a file part of this name", FILE)
    if not recording:
        raise InvalidInput("the file is empty", FILE)
    try:
        return form.model_validate(values), recording
    except ValidationError as error:
        raise refusal(error) from error
