"""requests of a shard → their answers, from an engine in this process whose batches stay full.

Requests go in ordered by length, so that those that share a batch are alike and little of it is
padding. The next shard follows while the last answers of one before it are still computed.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from pydantic import ValidationError

from service import heap
from service.engine import Engine
from service.errors import Overloaded, Problem, Unavailable, refusal
from service.schema import ResponseModel
from service.settings import Settings
from service.tasks import Task

SHARDS = 2
"""Of each worker at a time: one goes in while the last answers to the other are computed."""
PATIENCE_S = 86_400.0
"""Nobody waits for a single answer."""
LEAST, MOST = 32, 250
"""Requests that are under way: fewer leave rows of a batch empty, more are only held in memory."""
BATCHES = 4
"""Full batches of them, within those bounds."""

Asked = Mapping[str, Any] | str
"""The fields of a request; or what is wrong with an item that is none."""


class Answer(NamedTuple):
    """One of the two is None."""

    response: dict[str, Any] | None
    error: str | None


class Lost(Exception):
    """A worker went away with what it was working on."""


class Worker(Protocol):
    """What answers shards, here or on another machine."""

    async def start(self, model: str) -> str:
        """Load the model, and return its name and version; raises a Problem. Also after a loss."""

    async def answers(self, asked: Sequence[Asked]) -> list[Answer]:
        """One for each, in their order; raises Lost."""

    async def close(self) -> None: ...


def patient(settings: Settings) -> Settings:
    """The same, for requests that may all wait."""
    wait = {"timeout_s": PATIENCE_S, "queue_batches": 1_000_000, "model_limits": {}}
    return settings.model_copy(update={**wait, "models": ("*",), "preload": ()})


def size(asked: Asked) -> int:
    """How long a request is, where requests differ in length."""
    if isinstance(asked, str):
        return 0
    return max(
        (len(value) for value in asked.values() if isinstance(value, str | bytes)), default=0
    )


def shown(response: ResponseModel) -> dict[str, Any]:
    """An answer without what says how it came about."""
    return response.model_dump(mode="json", exclude={"model", "timings_ms"})


class LocalWorker:
    """An engine with one task. Made and used in one event loop."""

    def __init__(self, task: Task, settings: Settings) -> None:
        self.task = task
        self.engine = Engine([task], patient(settings))
        self._model = ""
        most = task.generation.max_rows if task.generation else task.max_batch_cost
        self.under_way = min(max(BATCHES * most, LEAST), MOST)
        """At most so many requests."""
        self._room = asyncio.Semaphore(self.under_way)
        self._turn = asyncio.Lock()
        """Shards go in one after another, so that those in a batch are alike."""
        self._shards = 0

    async def start(self, model: str) -> str:
        await self.engine.start()
        served = self.engine.find(self.task.name, model)
        await self.engine.opened(served)
        self._model = served.tag
        heap.settle()
        return self._model

    async def answers(self, asked: Sequence[Asked]) -> list[Answer]:
        """Raises Unavailable where the model is not there any more."""
        tasks: dict[int, asyncio.Task[Answer]] = {}
        try:
            async with self._turn:
                # To and fro, so that a shard goes on at the length at which the last one ended.
                self._shards += 1
                order = sorted(range(len(asked)), key=lambda at: size(asked[at]))
                for at in order if self._shards % 2 else reversed(order):
                    await self._room.acquire()
                    tasks[at] = asyncio.create_task(self._answer(asked[at]))
            return list(await asyncio.gather(*(tasks[at] for at in range(len(asked)))))
        finally:
            for task in tasks.values():
                task.cancel()

    async def _answer(self, asked: Asked) -> Answer:
        try:
            if isinstance(asked, str):
                return Answer(None, asked)
            request = self.task.request.model_validate({**asked, "model": self._model})
            while True:
                try:
                    response = await self.engine.answer(self.task.name, request)
                except Overloaded as busy:
                    await asyncio.sleep(busy.retry_after_s or 1)
                else:
                    return Answer(shown(response), None)
        except ValidationError as error:
            return Answer(None, str(refusal(error)))
        except Unavailable:
            raise
        except Problem as problem:
            return Answer(None, str(problem))
        finally:
            self._room.release()

    async def close(self) -> None:
        await self.engine.close()
