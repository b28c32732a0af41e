"""the ways into the service, by name."""

from enum import StrEnum


class Door(StrEnum):
    """The ways into the service."""

    REST = "REST"
    GRPC = "gRPC"
