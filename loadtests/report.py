"""finished requests → figures per task and door, as a table."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil, inf
from time import perf_counter

from rich.box import SIMPLE
from rich.table import Table

from loadtests.budgets import Door, Figures


def percentile(sorted_ms: Sequence[float], ratio: float) -> float:
    """The nearest-rank percentile; 0 where nothing was measured."""
    return sorted_ms[ceil(ratio * len(sorted_ms)) - 1] if sorted_ms else 0.0


@dataclass
class Recorder:
    """Listens to locust's request event and keeps every time, unrounded."""

    times_ms: dict[tuple[str, str], list[float]] = field(default_factory=lambda: defaultdict(list))
    faults: dict[tuple[str, str], list[str]] = field(default_factory=lambda: defaultdict(list))
    began_s: float = inf
    ended_s: float = 0.0

    def record(
        self,
        *,
        request_type: str,
        name: str,
        response_time: float,
        exception: Exception | None,
        **_: object,  # whatever else locust tells its listeners
    ) -> None:
        self.ended_s = perf_counter()
        self.began_s = min(self.began_s, self.ended_s - response_time / 1e3)
        if exception is None:
            self.times_ms[name, request_type].append(response_time)
        else:
            self.faults[name, request_type].append(f"{type(exception).__name__}: {exception}")

    def figures(self, task: str, door: Door) -> Figures:
        times, faults = sorted(self.times_ms[task, door]), self.faults[task, door]
        return Figures(
            task,
            door,
            requests=len(times) + len(faults),
            failures=len(faults),
            requests_per_s=len(times) / (self.ended_s - self.began_s) if times else 0.0,
            p50_ms=percentile(times, 0.50),
            p95_ms=percentile(times, 0.95),
            p99_ms=percentile(times, 0.99),
            fault=faults[0] if faults else "",
        )


def table(rows: Sequence[Figures], over: Mapping[tuple[str, str], Sequence[str]]) -> Table:
    """The report; rows that are over their budget are red."""
    view = Table("task", "door", box=SIMPLE, padding=0)
    for column in ("requests", "per s", "p50 ms", "p95 ms", "p99 ms", "failed"):
        view.add_column(column, justify="right")
    for row in rows:
        times = (row.p50_ms, row.p95_ms, row.p99_ms)
        view.add_row(
            row.task,
            row.door,
            str(row.requests),
            f"{row.requests_per_s:.1f}",
            *(f"{time_ms:.1f}" for time_ms in times),
            str(row.failures),
            style="red" if over.get((row.task, row.door)) else "",
        )
    return view
