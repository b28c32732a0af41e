"""finished requests → cells, seconds and lag: counted where they come from, merged elsewhere."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from loadtests.histogram import Histogram
from loadtests.results import Cell, Fault, Faults, Second


@dataclass(slots=True)
class Sample:
    """One request; times count from the start of the run."""

    phase: int
    task: str
    door: str
    due_s: float
    sent_s: float | None = None
    """None where it never left."""
    done_s: float = 0.0
    first_token_s: float | None = None
    items: int = 1
    fault: Fault | None = None
    detail: str = ""
    stages: Mapping[str, float] = field(default_factory=dict)
    open: bool = True
    """It was due whether or not others were answered, so that it can be late."""

    @property
    def latency_ms(self) -> float:
        return 1e3 * (self.done_s - self.due_s)


@dataclass
class Tally:
    """One second of the run."""

    offered: int = 0
    answered: int = 0
    failed: int = 0
    latency: Histogram = field(default_factory=Histogram)


class Counts:
    """All that is kept of the samples. Two generators' counts merge to those of their union."""

    def __init__(self) -> None:
        self.cells: dict[tuple[int, str, str], Cell] = {}
        self.seconds: dict[int, Tally] = {}
        self.lag = Histogram()
        self.ended_s: dict[int, float] = {}
        """Phase → its last answer."""

    def cell(self, phase: int, task: str, door: str) -> Cell:
        found = self.cells.get((phase, task, door))
        if found is None:
            found = self.cells[phase, task, door] = Cell(task=task, door=door)
        return found

    def second(self, at_s: float) -> Tally:
        return self.seconds.setdefault(int(at_s), Tally())

    def add(self, sample: Sample) -> None:
        cell = self.cell(sample.phase, sample.task, sample.door)
        cell.due += 1
        self.second(sample.due_s).offered += 1
        self.ended_s[sample.phase] = max(sample.done_s, self.ended_s.get(sample.phase, 0.0))
        if sample.sent_s is not None:
            cell.sent += 1
            if sample.open:
                self.lag.record_ms(1e3 * (sample.sent_s - sample.due_s))
        done = self.second(sample.done_s)
        if sample.fault is not None:
            faults = cell.faults.setdefault(sample.fault, Faults())
            faults.first = faults.first or sample.detail
            faults.count += 1
            done.failed += 1
            return
        cell.answered += 1
        cell.items += sample.items
        cell.latency.record_ms(sample.latency_ms)
        cell.service.record_ms(1e3 * (sample.done_s - (sample.sent_s or sample.due_s)))
        if sample.first_token_s is not None:
            cell.first_token.record_ms(1e3 * (sample.first_token_s - sample.due_s))
        for stage, time_ms in sample.stages.items():
            cell.stages.setdefault(stage, Histogram()).record_ms(time_ms)
        done.answered += 1
        done.latency.record_ms(sample.latency_ms)

    def dump(self) -> dict[str, Any]:
        """As plain values, to be sent to whoever merges."""
        return {
            "cells": [
                [phase, cell.model_dump_json()] for (phase, _, _), cell in self.cells.items()
            ],
            "seconds": [
                [at_s, each.offered, each.answered, each.failed, each.latency.encode()]
                for at_s, each in self.seconds.items()
            ],
            "lag": self.lag.encode(),
            "ended_s": list(self.ended_s.items()),
        }

    def merge(self, dumped: Mapping[str, Any]) -> None:
        for phase, text in dumped["cells"]:
            cell = Cell.model_validate_json(text)
            self.cell(phase, cell.task, cell.door).add(cell)
        for at_s, offered, answered, failed, latency in dumped["seconds"]:
            tally = self.second(at_s)
            tally.offered += offered
            tally.answered += answered
            tally.failed += failed
            tally.latency.add(Histogram(latency))
        self.lag.add(Histogram(dumped["lag"]))
        for phase, ended_s in dumped["ended_s"]:
            self.ended_s[phase] = max(ended_s, self.ended_s.get(phase, 0.0))

    def timeline(self) -> list[Second]:
        """Every second from the first to the last, also those in which nothing happened."""
        empty = Tally()
        last = max(self.seconds, default=-1)
        return [
            Second(
                at_s=at_s,
                offered=each.offered,
                answered=each.answered,
                failed=each.failed,
                p50_ms=each.latency.percentile_ms(0.5) if each.answered else None,
                p99_ms=each.latency.percentile_ms(0.99) if each.answered else None,
            )
            for at_s in range(last + 1)
            for each in [self.seconds.get(at_s, empty)]
        ]
