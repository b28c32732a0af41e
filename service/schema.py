"""JSON or protobuf fields → typed requests; answers → the members that all of them share."""

from functools import partial
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

Score = Annotated[float, AfterValidator(partial(round, ndigits=6))]
"""Rounded to what float32 knows of it."""
Milliseconds = Annotated[float, AfterValidator(partial(round, ndigits=3))]


class RequestModel(BaseModel):
    """Base of every request: unknown fields are refused, types are not coerced from text."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Timings(BaseModel):
    """Where the time of one request went."""

    preprocess_ms: Milliseconds = 0.0
    queue_ms: Milliseconds = 0.0
    compute_ms: Milliseconds = 0.0
    postprocess_ms: Milliseconds = 0.0


class ResponseModel(BaseModel):
    """Base of every response."""

    model: str = Field(default="", description="Name and version of the model that answered.")
    timings_ms: Timings = Field(default_factory=Timings)
