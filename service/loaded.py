"""open model → a task that can be served: its queue, its batches, and threads to read requests."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from time import monotonic
from typing import Any

from service import telemetry
from service.batcher import Batcher
from service.continuous import Continuous
from service.errors import Overloaded
from service.foresight import Pace
from service.gate import Gate
from service.lane import Lane
from service.schema import RequestModel
from service.session import Runner
from service.settings import Settings
from service.tasks import Item, Task

MAX_ENTERING = 256
"""Requests of one task whose input may wait to be read, or is being read."""


@dataclass
class Loaded:
    """A version of a task's model and everything that answers with it."""

    task: Task
    """As this kind of model does it."""
    name: str
    """Of the model and its version."""
    model: Runner
    assets: Any
    lane: Lane
    workers: ThreadPoolExecutor
    """For what comes before and after the model: the task's own, so that none starves another."""
    threads: int
    entering: int = 0
    reading: Pace = field(default_factory=Pace)
    """How long it takes a thread to read a request."""
    gate: Gate = field(default_factory=Gate)
    """Requests that this version answers."""

    def foresee(self, deadline_s: float) -> None:
        """Raise Overloaded where a request had better not come now: that costs nothing to say."""
        wait_s = self.reading.time_of(self.entering) / self.threads
        late = self.entering and monotonic() + wait_s > deadline_s
        if late or self.entering == MAX_ENTERING:
            telemetry.rejected(self.task.name, "deadline" if late else "queue")
            raise Overloaded(
                f"{self.entering} requests for {self.task.name} are being read; try again later",
                retry_after_s=wait_s,
            )
        self.lane.foresee(deadline_s - wait_s, coming=self.entering)

    async def read(self, request: RequestModel, deadline_s: float) -> list[Item]:
        """Read a request's input, unless it would come too late."""
        self.foresee(deadline_s)
        self.entering += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(
                self.workers, self._timed, request
            )
        finally:
            self.entering -= 1

    def _timed(self, request: RequestModel) -> list[Item]:
        began_s = monotonic()
        try:
            return self.task.preprocess(request, self.assets)
        finally:
            self.reading.add(1, monotonic() - began_s)

    async def close(self) -> None:
        """Finish what was begun, refuse the rest."""
        await self.lane.close()
        await self.gate.empty()  # the last answers are still being written
        self.workers.shutdown(wait=False)


def cores(task: Task, settings: Settings) -> int:
    """How many a run of one of the task's graphs may use."""
    if task.generation and task.generation.beside and settings.batching == "continuous":
        return max(1, settings.threads // 2)
    return settings.threads


def made(
    task: Task,
    name: str,
    model: Runner,
    assets: Any,
    settings: Settings,
    stop: Callable[[], None],
) -> Loaded:
    """What serves a task with this model; `stop` ends a run of its graphs."""
    workers = ThreadPoolExecutor(settings.threads, thread_name_prefix=f"{task.name} io")
    lane = _lane(task, model, assets, settings, stop)
    return Loaded(task, name, model, assets, lane, workers, settings.threads)


def _lane(
    task: Task, model: Runner, assets: Any, settings: Settings, stop: Callable[[], None]
) -> Lane:
    max_queue_cost = task.max_batch_cost * settings.queue_batches
    if task.generation and settings.batching == "continuous":
        return Continuous(
            task.name,
            model,
            task.generation,
            assets,
            task.cost,
            max_queue_cost=max_queue_cost,
            stop=stop,
        )
    return Batcher(
        task.name,
        partial(task.forward, model, assets),
        task.cost,
        max_batch_cost=task.max_batch_cost,
        max_queue_cost=max_queue_cost,
        stop=stop,
    )
