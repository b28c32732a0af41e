"""environment → settings: the one place that reads it."""

import os
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from service.logs import Format, Level

MIB = 1 << 20
OVERTIME_S = 5.0
"""What still hangs after the drain gets so long, then its process is ended."""


def _share_of_cores(values: dict[str, Any]) -> int:
    workers: int = values.get("workers", 1)
    return max(1, (os.cpu_count() or 1) // workers)


def _listed(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    return [part.strip() for part in value.split(",") if part.strip()]


def _paired(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    pairs = [part.partition("=") for part in _listed(value)]
    if not all(name and equals and of for name, equals, of in pairs):
        raise ValueError("write it as a=b,c=d")
    return {name: of for name, _, of in pairs}


Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_listed)]
"""Written as `a,b`."""
Pairs = Annotated[dict[str, str], NoDecode, BeforeValidator(_paired)]
"""Written as `a=b,c=d`."""
EVERY = "*"
"""Stands for all models of the store."""


class Limits(BaseModel):
    """What holds for one model instead of the limits of all."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    timeout_s: float | None = Field(default=None, gt=0)
    queue_batches: int | None = Field(default=None, ge=1)


class Settings(BaseSettings):
    """Every value can be set as an environment variable with the prefix ATTENDANT_.

    The two ports are HTTP_PORT and GRPC_PORT, without the prefix.
    """

    model_config = SettingsConfigDict(
        env_prefix="ATTENDANT_", extra="ignore", env_parse_none_str="off"
    )

    host: str = "127.0.0.1"
    http_port: int = Field(default=3000, ge=1, le=65_535, validation_alias="HTTP_PORT")
    grpc_port: int = Field(default=50051, ge=1, le=65_535, validation_alias="GRPC_PORT")
    workers: int = Field(default=1, ge=1, le=64)
    """Processes that serve; each holds every model and batches for itself."""
    threads: int = Field(default_factory=_share_of_cores, ge=1)
    """Cores that one batch may use; where not said, a worker's share of the machine."""
    batching: Literal["continuous", "request"] = "continuous"
    """Whether what generates tokens takes requests in between steps, or one batch at a time."""
    worker_silence_s: float = Field(default=3.0, ge=0.5)
    """A worker that hangs for so long is replaced."""
    max_body_bytes: int | None = Field(default=32 * MIB, ge=1_024)
    """Largest request on either door; this and the three that follow are switched off by `off`."""
    max_unpacked_bytes: int | None = Field(default=32 * MIB, ge=1_024)
    """The same, after a body's Content-Encoding is undone."""
    max_json_depth: int | None = Field(default=100, ge=1)
    """Of arrays and objects in each other; beyond 200 the parser refuses them itself."""
    max_tensor_elements: int | None = Field(default=8 * MIB, ge=1)
    """Of one tensor of the Open Inference Protocol."""
    max_recording_bytes: int = Field(default=128 * MIB, ge=1_024)
    """Largest recording that OpenAI's clients may send: an hour at 16 kHz and 16 bit is 110 MiB."""
    max_recording_s: float = Field(default=7_200, gt=0)
    """Longest recording that they may send."""
    recording_timeout_s: float = Field(default=1_800, gt=0)
    """Longest time that one longer than a window may take, its upload included."""
    timeout_s: float = Field(default=60.0, gt=0)
    """Longest time that one request may take, waiting included."""
    live_streams: int = Field(default=32, ge=1)
    """Streams of live speech that may be open at a time, on each door of a worker."""
    live_duration_s: float = Field(default=3_600.0, gt=0)
    """Longest stream."""
    live_idle_s: float = Field(default=30.0, ge=1)
    """A stream without audio for so long is ended."""
    keys_file: Path | None = None
    """The API keys, made by `python -m service keys make`; without it nobody is asked for one."""
    admin_host: str = "127.0.0.1"
    admin_port: int | None = Field(default=None, ge=1, le=65_535)
    """HTTP for those who look after the service: metrics, status, models loaded and unloaded."""
    tls_cert: Path | None = None
    """PEM file with the certificate chain of all doors; with `tls_key`, its private key."""
    tls_key: Path | None = None
    tls_client_ca: Path | None = None
    """PEM file: clients must show a certificate that one of these authorities signed."""
    files_dir: Path | None = None
    """Where translated files wait to be fetched; several workers translate files only with it."""
    files_bytes: int = Field(default=256 * MIB, ge=1_024)
    """Of all of them together: the oldest make room."""
    files_keep_s: float = Field(default=1_800, gt=0)
    """How long each can be fetched."""
    queue_batches: int = Field(default=32, ge=1)
    """Full batches of work that may wait per model before requests are refused."""
    models: Names = ()
    """Models of the store to serve, by name or name:version; `*` is all. If not said, the one of
    each task that is named as the task."""
    default_models: Pairs = Field(default_factory=dict)
    """Task=model: who answers where a request names no model. If not said, the one that is named as
    the task, else the first by name."""
    preload: Names | None = None
    """Models to load at the start; the others are loaded when they are asked for. If not said, the
    default of each task."""
    model_memory_bytes: int | None = Field(default=None, ge=1)
    """What all loaded models may take together in one worker, as `GET /models` estimates it: one
    that is idle makes room for one that is asked for. If not said, there is no bound."""
    model_limits: dict[str, Limits] = Field(default_factory=dict)
    """Limits of single models by name, as JSON: {"opus": {"timeout_s": 5, "queue_batches": 4}}."""
    lame_duck_s: float = Field(default=5.0, ge=0)
    """After a stop was asked for: how long requests are answered while readiness says no."""
    drain_s: float = Field(default=20.0, ge=0)
    """After that: how long requests in flight may go on."""
    log_format: Format = "text"
    """How a line of the log is written: for people, or as JSON for what collects logs."""
    log_level: Level = "info"
    """The least level that is logged; `info` has one line for each request."""
    otlp_endpoint: str | None = Field(default=None, pattern="^https?://")
    """Where an OpenTelemetry collector takes spans over gRPC; without it none are made."""
    metrics_dir: Path | None = None
    """An empty folder in which several workers count together."""

    def of(self, model: str) -> Self:
        """The settings as they are for one model."""
        own = self.model_limits.get(model)
        return self if own is None else self.model_copy(update=own.model_dump(exclude_none=True))

    @model_validator(mode="after")
    def _certificates(self) -> Self:
        for name in ("tls_cert", "tls_key", "tls_client_ca"):
            path = getattr(self, name)
            if path is not None and not path.is_file():
                raise ValueError(f"{name}: there is no file {path}")
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("tls_cert and tls_key go together")
        if self.tls_client_ca is not None and self.tls_cert is None:
            raise ValueError("tls_client_ca needs tls_cert and tls_key")
        return self
