"""one task's figures on one door → every way in which they are over the budget."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Door(StrEnum):
    """The ways into the service."""

    REST = "REST"
    GRPC = "gRPC"


@dataclass(frozen=True)
class Budget:
    """What a door must keep for a task while all tasks are asked of it in turn."""

    p99_ms: float
    requests_per_s: float
    failure_ratio: float = 0.0


DEFAULT = Budget(p99_ms=1_000, requests_per_s=1.0)
BUDGETS: Mapping[str, Budget] = {
    "translation": Budget(p99_ms=800, requests_per_s=1.0),
    "image-classification": Budget(p99_ms=400, requests_per_s=1.0),
    "audio-classification": Budget(p99_ms=400, requests_per_s=1.0),
    "automatic-speech-recognition": Budget(p99_ms=5_000, requests_per_s=1.0),
}
"""About twice what two cores gave to four callers that ask all tasks in turn."""


def budget_of(task: str) -> Budget:
    return BUDGETS.get(task, DEFAULT)


@dataclass(frozen=True)
class Figures:
    """One row of the report; times are those of right answers only, failures are counted apart."""

    task: str
    door: Door
    requests: int
    failures: int
    requests_per_s: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    fault: str = ""
    """The first failure, in words."""


def excesses(figures: Figures, budget: Budget) -> list[str]:
    """What is over the budget, with the figure and what is allowed."""
    over = []
    if figures.failures > budget.failure_ratio * figures.requests:
        counts = f"{figures.failures} of {figures.requests} failed"
        over.append(f"{counts}, {budget.failure_ratio:.0%} allowed; first: {figures.fault}")
    if figures.requests == figures.failures:
        return [*over, "no right answer"]
    if figures.p99_ms > budget.p99_ms:
        over.append(f"p99 {figures.p99_ms:.0f} ms, {budget.p99_ms:.0f} ms allowed")
    if figures.requests_per_s < budget.requests_per_s:
        over.append(f"{figures.requests_per_s:.1f} requests/s, {budget.requests_per_s:.1f} wanted")
    return over
