"""what was measured of servers → `docs/peers.json` and back."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from loadtests.peers.record import Machine, Record

Status = Literal["measured", "skipped", "failed"]


class Figures(Record):
    """One server under one task's load."""

    closed_per_s: float
    """Right answers per second to callers who ask again at once."""
    open_per_s: float | None
    """The highest rate of Poisson arrivals at which the percentile keeps the bound, if any did."""
    fails_per_s: float | None = None
    """The lowest rate above it that does not; none where the time of the server ended first."""
    p50_ms: float | None
    p99_ms: float | None
    """Both at that rate."""
    trials: int
    """Rates that were tried."""
    same_ratio: float
    """Of the known requests, how many it answers as Attendant does."""


class Compared(Record):
    """One server, whether or not it was measured."""

    status: Status
    reason: str = ""
    about: str = ""
    versions: dict[str, str] = Field(default_factory=dict)
    figures: Figures | None = None


class Terms(Record):
    """How a task was asked; the same for every server."""

    requests: int
    callers: int
    warm_s: float
    closed_s: float
    bound_ms: float
    percentile: float
    duration_s: float
    """Least time of one rate."""
    precision: float
    """A search ends when the rate that fails is at most so many times the one that holds, or with
    the time of the server."""
    threads: int
    seed: int


class TaskRecord(Record):
    """All servers on one task."""

    date: str
    machine: Machine
    terms: Terms
    peers: dict[str, Compared]

    def measured(self) -> dict[str, Figures]:
        return {name: peer.figures for name, peer in self.peers.items() if peer.figures}


class Comparison(Record):
    """Every task, from the last time it was compared."""

    tasks: dict[str, TaskRecord] = Field(default_factory=dict)


def read(path: Path) -> Comparison:
    """What is recorded so far; nothing if there is no file yet."""
    return Comparison.model_validate_json(path.read_text()) if path.exists() else Comparison()


def write(found: Comparison, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(found.model_dump_json(indent=1, exclude_defaults=True) + "\n")
