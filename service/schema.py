"""JSON or protobuf fields → typed requests; answers → the members that all of them share."""

import base64
import operator
from functools import partial
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    WithJsonSchema,
)

from service.explanation import AttentionMap

Score = Annotated[float, AfterValidator(partial(round, ndigits=6))]
"""Rounded to what float32 knows of it."""
Milliseconds = Annotated[float, AfterValidator(partial(round, ndigits=3))]


def _bytes(value: Any) -> Any:
    return base64.b64decode(value, validate=True) if isinstance(value, str) else value


File = Annotated[
    bytes,
    BeforeValidator(_bytes),
    PlainSerializer(lambda content: base64.b64encode(content).decode(), when_used="json"),
    WithJsonSchema({"type": "string", "contentEncoding": "base64"}),
]
"""Bytes in an answer; JSON has them in base64."""


class RequestModel(BaseModel):
    """Base of every request: unknown fields are refused, types are not coerced from text."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    model: str = Field(
        default="",
        max_length=128,
        description="Which model answers, as name or name:version; the task's default if empty.",
    )
    explain: bool = Field(
        default=False, description="The answer tells where the model attended; not every one can."
    )


def input_field(request: type[BaseModel]) -> str:
    """What a request is about: the first field that it must have, or else the first of its own."""
    own = {
        name: field
        for name, field in request.model_fields.items()
        if name not in RequestModel.model_fields
    }
    return next((name for name, field in own.items() if field.is_required()), next(iter(own)))


class Partial(BaseModel):
    """What is new of a text of the answer, before all of it is known."""

    index: int = Field(default=0, description="Which text of the answer; 0 where there is one.")
    text: str
    replaces: bool = Field(
        default=False, description="It stands for all that came of this text, and does not follow."
    )


class Timings(BaseModel):
    """Where the time of one request went: stages that add up to it. One that it had not is 0.

    Of a request with several items, from the queue on: the stages of the one answered last.
    """

    preprocess_ms: Milliseconds = Field(default=0.0, description="Reading the input.")
    queue_ms: Milliseconds = Field(default=0.0, description="Until it was taken into a batch.")
    batch_wait_ms: Milliseconds = Field(
        default=0.0, description="Taken, while nothing of it was computed: the batch was elsewhere."
    )
    encode_ms: Milliseconds = Field(default=0.0, description="Runs of an encoder.")
    decode_ms: Milliseconds = Field(default=0.0, description="Decoding steps.")
    compute_ms: Milliseconds = Field(
        default=0.0, description="Runs of a model that answers in one piece."
    )
    postprocess_ms: Milliseconds = Field(default=0.0, description="Writing the answer.")

    def taken(self) -> dict[str, float]:
        """Stage → milliseconds, without those that it had not."""
        return {
            name.removesuffix("_ms"): took_ms for name, took_ms in vars(self).items() if took_ms
        }


class ResponseModel(BaseModel):
    """Base of every response."""

    model: str = Field(default="", description="Name and version of the model that answered.")
    timings_ms: Timings = Field(default_factory=Timings)
    attention: list[AttentionMap] = Field(
        default=[],
        exclude_if=operator.not_,
        description="Where the model attended, if the request says `explain`; else left out.",
    )
