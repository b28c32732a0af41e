"""open model → a task that can be served: its queue, its batches, and threads to read requests."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from time import monotonic
from typing import Any

from service import explanation, telemetry
from service.batcher import Batcher
from service.continuous import Continuous
from service.errors import Overloaded
from service.foresight import Pace
from service.gate import Gate
from service.lane import Lane
from service.schema import RequestModel, ResponseModel, Timings
from service.session import Runner
from service.settings import Settings
from service.stream import Reading
from service.tasks import Item, Row, Task
from service.telemetry import Labels
from service.waiting import Answer

MAX_ENTERING = 256
"""Requests of one model whose input may wait to be read, or is being read."""


@dataclass
class Loaded:
    """A version of a model and everything that answers with it."""

    task: Task
    """As this kind of model does it, with the graphs that it has."""
    labels: Labels
    name: str
    """Of the model and its version."""
    model: Runner
    assets: Any
    lane: Lane
    workers: ThreadPoolExecutor
    """For what comes before and after the model: its own, so that none starves another."""
    threads: int
    entering: int = 0
    reading: Pace = field(default_factory=Pace)
    """How long it takes a thread to read a request."""
    gate: Gate = field(default_factory=Gate)
    """Requests that this version answers."""

    async def answer(
        self,
        request: RequestModel,
        deadline_s: float,
        *,
        priority: int = 0,
        reading: Reading | None = None,
    ) -> ResponseModel:
        """Read, compute and write; `reading` is told the tokens as they come."""
        start_s, task = monotonic(), self.task
        if request.explain:
            explanation.check(task.contract)
        items = await self.read(request, deadline_s)
        queued_s = monotonic()
        watched = reading if task.generation else None
        if watched:
            watched.begin(items, self.assets)
        answers = await self.lane.submit(
            items,
            deadline_s=deadline_s,
            priority=priority,
            watch=watched.watch if watched else None,
        )
        rows = [answer.row for answer in answers]
        response = await asyncio.get_running_loop().run_in_executor(
            self.workers, task.postprocess, request, self.assets, items, rows
        )
        timings = _timings(start_s, queued_s, answers)
        telemetry.stages(self.labels, timings)
        return response.model_copy(update={"model": self.name, "timings_ms": timings})

    async def rows(
        self, items: Sequence[Item], deadline_s: float, *, priority: int = 0
    ) -> tuple[list[Row], str, Timings]:
        """What the model makes of items that need no reading, its name, and the times."""
        start_s = monotonic()
        answers = await self.lane.submit(items, deadline_s=deadline_s, priority=priority)
        timings = _timings(start_s, start_s, answers)
        telemetry.stages(self.labels, timings)
        return [answer.row for answer in answers], self.name, timings

    def foresee(self, deadline_s: float) -> None:
        """Raise Overloaded where a request had better not come now: that costs nothing to say."""
        wait_s = self.reading.time_of(self.entering) / self.threads
        late = self.entering and monotonic() + wait_s > deadline_s
        if late or self.entering == MAX_ENTERING:
            telemetry.rejected(self.labels, "deadline" if late else "queue")
            raise Overloaded(
                f"{self.entering} requests for {self.labels.model} are being read; try again later",
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
            items = self.task.preprocess(request, self.assets)
            return explanation.marked(items) if request.explain else items
        finally:
            self.reading.add(1, monotonic() - began_s)

    async def close(self) -> None:
        """Finish what was begun, refuse the rest."""
        await self.lane.close()
        await self.gate.empty()  # the last answers are still being written
        self.workers.shutdown(wait=False)


def _timings(start_s: float, queued_s: float, answers: Sequence[Answer]) -> Timings:
    """Where the time went of a request that has been answered just now."""
    none = Answer({}, queued_s, queued_s, {})
    last = max(answers, key=lambda answer: answer.ended_s, default=none)
    waited_s = last.ended_s - last.began_s - sum(last.worked_s.values())
    return Timings(
        preprocess_ms=(queued_s - start_s) * 1e3,
        queue_ms=(last.began_s - queued_s) * 1e3,
        batch_wait_ms=max(0.0, waited_s) * 1e3,
        **{f"{work}_ms": took_s * 1e3 for work, took_s in last.worked_s.items()},
        postprocess_ms=(monotonic() - last.ended_s) * 1e3,
    )


def cores(task: Task, settings: Settings) -> int:
    """How many a run of one of the task's graphs may use."""
    if task.generation and task.generation.beside and settings.batching == "continuous":
        return max(1, settings.threads // 2)
    return settings.threads


def made(
    task: Task,
    labels: Labels,
    name: str,
    model: Runner,
    assets: Any,
    settings: Settings,
    stop: Callable[[], None],
) -> Loaded:
    """What serves a task with this model; `name` has its version behind a colon, if it has one.

    `stop` ends a run of its graphs.
    """
    workers = ThreadPoolExecutor(settings.threads, thread_name_prefix=f"{labels.model} io")
    own = settings.of(name.partition(":")[0])
    lane = _lane(task, labels, model, assets, own, stop)
    return Loaded(task, labels, name, model, assets, lane, workers, settings.threads)


def _lane(
    task: Task,
    labels: Labels,
    model: Runner,
    assets: Any,
    settings: Settings,
    stop: Callable[[], None],
) -> Lane:
    max_queue_cost = task.max_batch_cost * settings.queue_batches
    if task.generation and settings.batching == "continuous":
        return Continuous(
            labels,
            model,
            task.generation,
            assets,
            task.cost,
            max_queue_cost=max_queue_cost,
            stop=stop,
        )
    return Batcher(
        labels,
        partial(task.forward, model, assets),
        task.cost,
        max_batch_cost=task.max_batch_cost,
        max_queue_cost=max_queue_cost,
        stop=stop,
    )
