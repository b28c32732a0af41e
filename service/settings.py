"""environment → settings: the one place that reads it."""

import os
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

MIB = 1 << 20


class Settings(BaseSettings):
    """Every value can be set as an environment variable with the prefix ATTENDANT_.

    The two ports are HTTP_PORT and GRPC_PORT, without the prefix.
    """

    model_config = SettingsConfigDict(env_prefix="ATTENDANT_", extra="ignore")

    host: str = "127.0.0.1"
    http_port: int = Field(default=3000, ge=1, le=65_535, validation_alias="HTTP_PORT")
    grpc_port: int = Field(default=50051, ge=1, le=65_535, validation_alias="GRPC_PORT")
    threads: int = Field(default=os.cpu_count() or 1, ge=1)
    """Cores that one batch may use."""
    batching: Literal["continuous", "request"] = "continuous"
    """Whether what generates tokens takes requests in between steps, or one batch at a time."""
    max_body_bytes: int = Field(default=32 * MIB, ge=1_024)
    """Largest request on either door."""
    timeout_s: float = Field(default=60.0, gt=0)
    """Longest time that one request may take, waiting included."""
    queue_batches: int = Field(default=32, ge=1)
    """Full batches of work that may wait per task before requests are refused."""
    drain_s: float = Field(default=20.0, ge=0)
    """How long requests in flight may go on after a stop was asked for."""
