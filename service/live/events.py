"""samples that a live stream takes, events that it gives: as JSON and as protobuf."""

from typing import Literal

from pydantic import BaseModel, Field

from service.log_mel import RATE_HZ
from service.schema import Score


class LiveAudio(BaseModel):
    """Samples of a stream of speech; the other fields count in its first message."""

    audio: bytes = Field(default=b"", description="16-bit samples, little-endian, one channel.")
    rate_hz: int = Field(default=RATE_HZ, description="Samples a second; where 0, 16000.")
    language: str = Field(default="", description="As of a request.")
    task: str = Field(default="", description="As of a request.")
    model: str = Field(default="", description="As of a request.")


class LiveEvent(BaseModel):
    """What is heard in a stream of speech: `partial` with `text`, whose words stay, and
    `tentative`, `final` at every pause, `end` with all of the text.
    """

    type: Literal["partial", "final", "end"] = Field(
        description="partial: so far since the last pause; final: up to a pause; end: all of it."
    )
    text: str = Field(description="Of a partial, the words that stay as they are.")
    tentative: str = Field(default="", description="Of a partial, the words behind, which may not.")
    start_s: float = Field(default=0.0, description="Where in the stream it begins.")
    end_s: float = 0.0


class KeywordEvent(BaseModel):
    """What is heard in a stream: `keyword` as soon as one is, `end` at last.

    It takes a model with truncated attention.
    """

    type: Literal["keyword", "end"] = Field(
        description="keyword: as soon as one is heard; end: of the stream, which has no label."
    )
    label: str = Field(default="", description="The keyword.")
    score: Score = Field(default=0.0, description="Probability of it, when it was heard.")
    start_s: float = Field(default=0.0, description="About where in the stream it is spoken.")
    end_s: float = 0.0
