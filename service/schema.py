"""JSON or protobuf fields → typed requests; answers → the members that all of them share."""

from pydantic import BaseModel, ConfigDict, Field


class RequestModel(BaseModel):
    """Base of every request: unknown fields are refused, types are not coerced from text."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Timings(BaseModel):
    """Where the time of one request went."""

    preprocess_ms: float = 0.0
    queue_ms: float = 0.0
    compute_ms: float = 0.0
    postprocess_ms: float = 0.0


class ResponseModel(BaseModel):
    """Base of every response."""

    model: str = Field(default="", description="Name and version of the model that answered.")
    timings_ms: Timings = Field(default_factory=Timings)
