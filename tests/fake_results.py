"""Results as runs and searches leave them, made by hand."""

from random import Random

from loadtests.histogram import Histogram
from loadtests.peers.record import Machine
from loadtests.results import (
    BatchRows,
    Cell,
    Fault,
    Faults,
    Phase,
    Run,
    Search,
    Searched,
    Second,
    Server,
    ServerSample,
    Terms,
    Trial,
)

MACHINE = Machine(cpu="a cpu", cores=2, memory_gib=8, flags=[], system="Linux", python="3.11")
SERVER = Server(
    addresses={"REST": "http://127.0.0.1:3000", "gRPC": "127.0.0.1:50051"},
    status={"translation": "ready"},
    models={"translation": "translation:0123456789ab"},
)
TASKS = ("translation", "image-classification")


def histogram(middle_ms: float, count: int, *, seed: int = 0) -> Histogram:
    """Times of a log-normal distribution with this median; its p99 is 3.2 times the median."""
    made, random = Histogram(), Random(seed)
    for _ in range(count):
        made.record_ms(middle_ms * random.lognormvariate(0, 0.5))
    return made


def cell(
    task: str = "translation",
    door: str = "REST",
    *,
    middle_ms: float = 50.0,
    count: int = 2_000,
    failed: int = 0,
    seed: int = 0,
) -> Cell:
    made = Cell(task=task, door=door, due=count + failed, sent=count + failed, answered=count)
    made.items = count
    made.latency = histogram(middle_ms, count, seed=seed)
    made.service = histogram(middle_ms * 0.9, count, seed=seed)
    made.stages = {
        stage: histogram(middle_ms * part, count, seed=seed)
        for stage, part in (("preprocess", 0.05), ("queue", 0.2), ("compute", 0.6), ("post", 0.01))
    }
    if failed:
        made.faults[Fault.REFUSED] = Faults(count=failed, first="503 the queue is full")
    return made


def a_run(
    *cells: Cell,
    scenario: str = "server",
    rate_per_s: float | None = 20.0,
    duration_s: float = 100.0,
    percentile: float = 0.99,
    machine: Machine = MACHINE,
    void: list[str] | None = None,
) -> Run:
    """A run of one phase; of two tasks on two doors unless cells are given."""
    shown = cells or tuple(
        cell(task, door, middle_ms=40 + 20 * i + 10 * j, count=500)
        for i, task in enumerate(TASKS)
        for j, door in enumerate(("REST", "gRPC"))
    )
    run = Run(
        began="2026-01-01T00:00:00+00:00",
        terms=Terms(
            scenario=scenario,
            arguments={} if rate_per_s is None else {"rate_per_s": rate_per_s},
            mix={f"{each.task} {each.door}": 1.0 for each in shown},
            payloads="examples",
            seed=0,
            duration_s=duration_s,
            percentile=percentile,
        ),
        machine=machine,
        server=SERVER,
        void=void or [],
        send_lag=histogram(0.2, 100),
    )
    phase = Phase(name="load", began_s=0, duration_s=duration_s, rate_per_s=rate_per_s)
    phase.users = 4 if rate_per_s is None else None
    phase.cells = list(shown)
    run.phases = [phase]
    for at_s in range(int(duration_s)):
        slow = 2.0 if at_s % 25 == 20 else 1.0
        run.timeline.append(
            Second(
                at_s=at_s,
                offered=20,
                answered=18 if slow > 1 else 20,
                failed=int(slow > 1),
                p50_ms=50 * slow,
                p99_ms=160 * slow,
            )
        )
        run.samples.append(
            ServerSample(
                at_s=at_s,
                cpu_cores=1.4 * slow / 2,
                rss_bytes=(900 + at_s) * 2**20,
                queue_cost={"translation": 12.0 * slow},
                batch_rows={"image-classification": 2.0 * slow},
                step_rows={"translation": 3.0 * slow},
            )
        )
    buckets = {"1": 400, "2": 220, "4": 90, "8": 10, "+Inf": 0}
    run.batches = [
        BatchRows(task="translation", kind="step", count=720, rows=1_400, up_to=buckets),
        BatchRows(task="image-classification", kind="batch", count=720, rows=1_300, up_to=buckets),
    ]
    return run


def a_search(*, best_per_s: float | None = 56.0, machine: Machine = MACHINE) -> Search:
    """Rates from 8 to 80, whose latency grows as that of a queue that is full at 70."""
    bound_ms = 800.0
    trials = []
    for rate in (8.0, 16.0, 32.0, 48.0, 56.0, 60.0, 64.0, 80.0):
        middle_ms = 40 / max(0.02, 1 - rate / 70)
        run = a_run(cell(middle_ms=middle_ms, count=700), rate_per_s=rate, duration_s=10.0)
        late = run.cells()[0].misses(bound_ms)
        trials.append(Trial(rate_per_s=rate, late=late, allowed=1, held=late <= 1, run=run))
    found = Searched(
        name="translation REST", trials=trials, best_per_s=best_per_s, fails_per_s=60.0
    )
    return Search(
        began="2026-01-01T00:00:00+00:00",
        machine=machine,
        server=SERVER,
        bounds_ms={"translation": bound_ms},
        percentile=0.99,
        confidence=0.99,
        precision=1.08,
        seed=0,
        duration_s=10.0,
        found=[found],
    )
