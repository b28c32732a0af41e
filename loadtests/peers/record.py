"""what a race gave → `docs/benchmarks.json` and back."""

from pathlib import Path
from statistics import median
from typing import Literal

from pydantic import BaseModel, ConfigDict

Status = Literal["raced", "skipped", "failed"]


class Record(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Machine(Record):
    """Where a race was held."""

    cpu: str
    cores: int
    memory_gib: int
    flags: list[str]
    """Of the instruction sets that matter here, those that the processor has."""
    system: str
    python: str


class Raced(Record):
    """One peer in one work."""

    status: Status
    reason: str = ""
    settings: dict[str, str] = {}
    versions: dict[str, str] = {}
    quality: dict[str, float] = {}
    seconds: dict[int, list[float]] = {}
    """Size → seconds of one batch in each round."""

    def median_s(self, size: int) -> float:
        return median(self.seconds[size])


class WorkRecord(Record):
    """One race: all peers of one work."""

    about: str
    unit: str
    per_batch: float | None
    """What one row of a batch counts in `unit` per second; none where the unit is a time."""
    sizes: list[int]
    machine: Machine
    threads: int
    rounds: int
    date: str
    peers: dict[str, Raced]

    def figure(self, seconds: float, size: int) -> float:
        """Seconds of a batch → the unit of the work."""
        return seconds * 1e3 if self.per_batch is None else size * self.per_batch / seconds

    def raced(self) -> dict[str, Raced]:
        return {name: peer for name, peer in self.peers.items() if peer.status == "raced"}


class Size(Record):
    """The weights of a shipped model."""

    on_disk_bytes: int
    float32_bytes: int
    """The same weights, four bytes each."""


class Benchmarks(Record):
    """All works, each from the last time it was raced, and the shipped models by name."""

    works: dict[str, WorkRecord] = {}
    sizes: dict[str, Size] = {}


def read(path: Path) -> Benchmarks:
    """What is recorded so far; nothing if there is no file yet."""
    return Benchmarks.model_validate_json(path.read_text()) if path.exists() else Benchmarks()


def write(benchmarks: Benchmarks, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(benchmarks.model_dump_json(indent=1, exclude_defaults=True) + "\n")
