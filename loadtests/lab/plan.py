"""what to send, when, how often → one record that any generator carries out in the same way."""

from collections.abc import Iterator
from random import Random
from typing import Any

from pydantic import BaseModel, ConfigDict


class Planned(BaseModel):
    """Base of what travels to the generators."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Call(Planned):
    """One request of one door, encoded once for all its repetitions."""

    task: str
    door: str
    target: str
    """A path for HTTP, a full method name for gRPC."""
    payload: int = 0
    """Which of the task's payloads: the same number on every door."""
    body: bytes
    headers: dict[str, str] = {}
    golden: Any = None
    """The right answer, as the door reads it; None where it is not known."""

    @property
    def name(self) -> str:
        return f"{self.task} {self.door}"


class Load(Planned):
    """A stretch of load. Open where it has moments or a rate, closed where it has users."""

    name: str
    duration_s: float
    rate_per_s: float | None = None
    moments_s: list[float] | None = None
    """When requests are due, where that is not left to chance."""
    users: int | None = None
    samples: int = 1
    """Requests that a caller sends at once, and waits for all of them."""
    backlog: int | None = None
    """So many requests are due at the start, and the users take them one after the other."""

    def moments(self, random: Random) -> Iterator[float]:
        """Seconds after the start at which requests are due: a Poisson process, unless given."""
        if self.moments_s is not None:
            yield from self.moments_s
            return
        at_s = 0.0
        assert self.rate_per_s
        while (at_s := at_s + random.expovariate(self.rate_per_s)) < self.duration_s:
            yield at_s


class GiveUp(Planned):
    """Where a run may end because its outcome is certain."""

    bounds_ms: dict[str, float]
    allowed: int
    """Later requests than this and the percentile cannot be claimed any more."""


class Plan(Planned):
    """All that a generator needs; `(index, of)` says which share of it is its own."""

    addresses: dict[str, str]
    """Door → address."""
    calls: list[Call]
    weights: dict[str, float]
    """`task door` → share of the requests."""
    loads: list[Load]
    seed: int
    timeout_s: float = 60.0
    give_up: GiveUp | None = None

    def choices(self, load: Load, seed: int) -> Iterator[Call]:
        """Calls without end: by weight which task and door, then its payloads by chance.

        Those of a trace come in its order instead, each on a door by weight.
        """
        random = Random(seed)
        if load.moments_s is not None:
            for payload in range(len(load.moments_s)):
                fitting = [call for call in self.calls if call.payload == payload]
                if fitting:
                    weights = [self.weights[call.name] for call in fitting]
                    yield random.choices(fitting, weights)[0]
            return
        names = list(self.weights)
        of = {name: [call for call in self.calls if call.name == name] for name in names}
        weights = list(self.weights.values())
        while True:
            yield random.choice(of[random.choices(names, weights)[0]])
