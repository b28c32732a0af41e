"""one run, or one search → a typed file: what was asked, what came back, why it may not count."""

from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from loadtests.histogram import Histogram
from loadtests.peers.record import Machine


class Part(BaseModel):
    """Base of all that a file holds: nothing unknown, nothing coerced."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Fault(StrEnum):
    """What became of a request that got no right answer."""

    WRONG = "wrong"
    """An answer, but not the golden one."""
    INVALID = "invalid"
    """Refused for what it asks: 4xx, INVALID_ARGUMENT and their like."""
    REFUSED = "refused"
    """Refused for now: 429 and 503, RESOURCE_EXHAUSTED and UNAVAILABLE."""
    EXPIRED = "expired"
    """504, DEADLINE_EXCEEDED, or no answer within the generator's own limit."""
    UNREACHABLE = "unreachable"
    """Nobody listens: the request has not left."""
    LOST = "lost"
    """The connection ended after the request had left."""
    FAILED = "failed"
    """Any other status or code."""
    ABANDONED = "abandoned"
    """The run was ended while it was under way."""


class Faults(Part):
    """All requests of one cell that ended in the same way."""

    count: int = 0
    first: str = ""
    """What was said of the first of them."""


class Cell(Part):
    """What was asked of one task on one door, in one phase."""

    task: str
    door: str
    due: int = 0
    """Requests that the schedule had, whether or not they were sent."""
    sent: int = 0
    answered: int = 0
    """Right answers; all times below are of these."""
    items: int = 0
    """Samples in the right answers; a request of `multi-stream` has several."""
    faults: dict[Fault, Faults] = {}
    latency: Histogram = Field(default_factory=Histogram)
    """From the moment a request was due to the end of its answer."""
    service: Histogram = Field(default_factory=Histogram)
    """From the moment it was sent: what a closed loop would have reported."""
    first_token: Histogram = Field(default_factory=Histogram)
    """From the moment it was due to the first text of a streamed answer; empty if not streamed."""
    stages: dict[str, Histogram] = {}
    """Stage → time by the answers' `timings_ms`: `preprocess`, `queue`, `compute`, ..."""

    @property
    def failed(self) -> int:
        return sum(each.count for each in self.faults.values())

    def misses(self, bound_ms: float) -> int:
        """Requests not answered rightly within the bound: errors count as misses."""
        return self.failed + self.latency.over(bound_ms)

    def add(self, other: "Cell") -> None:
        """Merge what another generator, or another phase, has of the same task and door."""
        self.due += other.due
        self.sent += other.sent
        self.answered += other.answered
        self.items += other.items
        for kind, faults in other.faults.items():
            own = self.faults.setdefault(kind, Faults())
            own.first = own.first or faults.first
            own.count += faults.count
        self.latency.add(other.latency)
        self.service.add(other.service)
        self.first_token.add(other.first_token)
        for stage, times in other.stages.items():
            self.stages.setdefault(stage, Histogram()).add(times)


def merged(cells: Iterable[Cell]) -> list[Cell]:
    """One cell for each task and door, in order of first appearance."""
    found: dict[tuple[str, str], Cell] = {}
    for cell in cells:
        found.setdefault((cell.task, cell.door), Cell(task=cell.task, door=cell.door)).add(cell)
    return list(found.values())


class Phase(Part):
    """A stretch of a run under the same load; most scenarios have one, `step` and `spike` more."""

    name: str
    began_s: float
    duration_s: float
    """From its first due moment until its last answer, or until it was ended."""
    rate_per_s: float | None = None
    """Requests offered per second; none in a closed loop."""
    users: int | None = None
    """Callers that wait for each answer; none in an open loop."""
    cells: list[Cell] = []


class Second(Part):
    """One second of the run; requests are offered when due and answered when the answer came."""

    at_s: int
    offered: int
    answered: int
    failed: int
    p50_ms: float | None = None
    """None where nothing was answered in this second."""
    p99_ms: float | None = None


class ServerSample(Part):
    """The server at one moment, by its own /metrics; what it does not tell is None or missing."""

    at_s: float
    cpu_cores: float | None = None
    """Processors kept busy since the sample before."""
    rss_bytes: float | None = None
    queue_cost: dict[str, float] = {}
    """Task → cost of the items that wait."""
    in_flight: dict[str, float] = {}
    batch_rows: dict[str, float] = {}
    """Task → mean items of a batch since the sample before."""
    step_rows: dict[str, float] = {}
    """Task → mean rows of a decoding step since the sample before."""


class BatchRows(Part):
    """A histogram of how large the server's batches were during the run, by its /metrics."""

    task: str
    kind: Literal["batch", "step"]
    count: int
    rows: int
    """In all of them."""
    up_to: dict[str, int] = {}
    """Upper bound of a bucket (`+Inf` the last) → batches in this bucket alone."""


class Server(Part):
    """What was measured, by what it said of itself."""

    addresses: dict[str, str]
    """Door → address."""
    status: dict[str, str] = {}
    """Task → `ready`, or why it is not served; empty where the server has no /status."""
    models: dict[str, str] = {}
    """Task → model and version."""
    absent: dict[str, str] = {}
    """Door, or `task door` → why it could not be measured."""


class Terms(Part):
    """What was asked for; the same terms give the same requests at the same moments."""

    scenario: str
    arguments: dict[str, float] = {}
    """The scenario's own: `rate_per_s`, `users`, `samples`, ..."""
    mix: dict[str, float]
    """`task door` → weight."""
    payloads: str
    """`examples`, a folder or a trace, with what was found in it."""
    goldens: str = "first answer"
    seed: int
    duration_s: float
    """Wanted; a phase has what it took."""
    percentile: float = 0.99
    """The one that the run is to claim."""
    workers: int = 1
    """Processes that generated the load."""


class Run(Part):
    """One run."""

    kind: Literal["run"] = "run"
    began: str
    """ISO 8601, UTC."""
    terms: Terms
    machine: Machine
    """Of the generator."""
    server: Server
    phases: list[Phase] = []
    timeline: list[Second] = []
    samples: list[ServerSample] = []
    batches: list[BatchRows] = []
    send_lag: Histogram = Field(default_factory=Histogram)
    """From the moment a request was due to when it was sent; empty in a closed loop."""
    void: list[str] = []
    """Every reason why the figures must not be believed; valid where there is none."""

    @property
    def valid(self) -> bool:
        return not self.void

    @property
    def duration_s(self) -> float:
        return sum(phase.duration_s for phase in self.phases)

    def cells(self) -> list[Cell]:
        """All phases together."""
        return merged(cell for phase in self.phases for cell in phase.cells)


class Trial(Part):
    """One rate that was tried."""

    rate_per_s: float
    late: int
    """Requests over the bound, or without a right answer."""
    allowed: int
    """How many may be late for the percentile to be claimed; -1 where too few were sent."""
    held: bool
    run: Run


class Searched(Part):
    """The highest rate for one task on one door, or for the mix."""

    name: str
    """`translation REST`, or `mix`."""
    trials: list[Trial]
    best_per_s: float | None
    """The highest rate that held in a valid run; None if none did."""
    fails_per_s: float | None
    """The lowest rate that did not hold; None if none was found."""


class Search(Part):
    """The highest rate at which a percentile keeps its bound, for each of several things."""

    kind: Literal["search"] = "search"
    began: str
    machine: Machine
    server: Server
    bounds_ms: dict[str, float]
    """Task → bound; a mix is judged by all its requests, each held to the bound of its task."""
    percentile: float
    confidence: float
    precision: float
    """A search ends when the rate that fails is at most so many times the one that holds."""
    seed: int
    duration_s: float
    """Least of a trial."""
    found: list[Searched] = []
    void: list[str] = []


class Block(Part):
    """A short run of one side of a comparison."""

    pair: int
    side: Literal["a", "b"]
    duration_s: float
    cells: list[Cell]
    late: str = ""
    """How late the generator itself was, where that was too much: the pair is left out."""


class Comparison(Part):
    """Two deployments under the same load in turns, in pairs of blocks whose order is random."""

    kind: Literal["comparison"] = "comparison"
    began: str
    terms: Terms
    """Of one block."""
    machine: Machine
    a: Server
    b: Server
    pairs: int
    """Wanted."""
    blocks: list[Block] = []
    """In the order in which they were measured."""
    void: list[str] = []


Result = Run | Search | Comparison


class _File(BaseModel):
    content: Result = Field(discriminator="kind")


def write(result: Result, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(result.model_dump_json(indent=1) + "\n", encoding="utf-8")


def read(path: Path) -> Result:
    """Raises pydantic's ValidationError for a file that is none of them."""
    text = path.read_text(encoding="utf-8")
    return _File.model_validate_json(f'{{"content": {text}}}').content
