"""a plan → a locust user whose one task is to carry it out, firing locust's event per request."""

from collections.abc import Callable
from time import perf_counter
from typing import Any

import gevent
from locust import User, task
from locust.env import Environment
from locust.exception import StopUser

from loadtests.lab.plan import Plan
from loadtests.lab.samples import Counts, Sample
from loadtests.lab.thread import Running

TAKE_S = 0.05
"""How often finished requests are reported to locust."""


class RequestFailed(Exception):
    """A request got no right answer; locust shows the kind and the first words."""


class Lab:
    """What one process generates: a share of a plan, and the counts of its samples."""

    def __init__(self, plan: Plan, *, index: int = 0, of: int = 1) -> None:
        self.running = Running(plan, index=index, of=of)
        self.counts = Counts()
        self.stopped = ""
        self.done = False

    def on_request(self, *, context: dict[str, Any], **_: object) -> None:
        """Listens to locust's request event."""
        self.counts.add(context["sample"])

    def taken(self) -> Counts:
        """What was counted since the last call."""
        taken, self.counts = self.counts, Counts()
        return taken


class Generating(User):
    """The only user of a process; `lab` says what it is to do."""

    lab: Lab
    progress: Callable[[Counts, float], None] | None = None
    """Told of the counts so far and of the seconds since the start."""

    @task
    def generate(self) -> None:
        lab, began_s = self.lab, perf_counter()
        lab.running.start()
        while not lab.running.over:
            gevent.sleep(TAKE_S)
            self.report()
            if self.progress:
                self.progress(lab.counts, perf_counter() - began_s)
        self.report()
        lab.stopped = lab.running.generator.stopped
        if lab.running.error is not None:
            lab.stopped = f"the generator broke: {lab.running.error!r}"
        lab.done = True
        raise StopUser

    def report(self) -> None:
        for sample in self.lab.running.take():
            self.environment.events.request.fire(**event_of(sample))


def event_of(sample: Sample) -> dict[str, Any]:
    """A sample as locust's request event has it."""
    failure = None
    if sample.fault is not None:
        failure = RequestFailed(f"{sample.fault}: {sample.detail[:80]}")
    return {
        "request_type": sample.door,
        "name": sample.task,
        "response_time": sample.latency_ms,
        "response_length": 0,
        "exception": failure,
        "context": {"sample": sample},
    }


def environment_of(lab: Lab, progress: Callable[[Counts, float], None] | None) -> Environment:
    """A locust environment with this one user."""
    members = {"lab": lab, "progress": staticmethod(progress) if progress else None}
    environment = Environment(user_classes=[type("Load", (Generating,), members)])
    environment.events.request.add_listener(lab.on_request)  # type: ignore[no-untyped-call]
    return environment
