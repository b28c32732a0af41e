"""a task → the bound that its p99 has to keep."""

from collections.abc import Mapping
from enum import StrEnum


class Door(StrEnum):
    """The ways into the service."""

    REST = "REST"
    GRPC = "gRPC"


DEFAULT_P99_MS = 1_000.0
P99_MS: Mapping[str, float] = {
    "translation": 800.0,
    "image-classification": 400.0,
    "audio-classification": 400.0,
    "automatic-speech-recognition": 5_000.0,
}
"""About twice what two cores gave to four callers that ask all tasks in turn."""
