"""requests of a shard → their answers, from engines on the nodes of a Ray cluster.

Nodes need the code and the model, and see no files: items and answers pass through this process. An
engine whose node dies is started again wherever there is room, and its shards go to the others.
"""

import asyncio
from collections.abc import Sequence
from typing import Any

import ray
from ray.exceptions import RayActorError

from service.batch.worker import SHARDS, Answer, Asked, LocalWorker, Lost
from service.settings import Settings
from service.tasks import task as task_of


class Engine:
    """What runs on a node: one engine, as it is here. Methods are those of a worker."""

    def __init__(self, task: str) -> None:
        self._task = task
        self._worker: LocalWorker | None = None

    async def start(self, model: str) -> str:
        self._worker = LocalWorker(task_of(self._task), Settings())
        return await self._worker.start(model)

    async def answers(self, asked: Sequence[Asked]) -> list[Answer]:
        assert self._worker is not None
        return await self._worker.answers(asked)


def connect(address: str) -> None:
    """Join a cluster, or with `local` start one that ends with this process."""
    ray.init(address=address, include_dashboard=None, log_to_driver=False, logging_level="error")


class ClusterWorker:
    """An engine on some node; a worker as `service/batch/worker.py` has it."""

    def __init__(self, task: str, cores: float) -> None:
        """The node keeps so many cores for it."""
        options = {"num_cpus": cores, "max_concurrency": SHARDS}
        self._engines = ray.remote(**options)(Engine)
        self._task = task
        self._engine: Any = None
        self._tag = ""
        self._starting = asyncio.Lock()

    async def start(self, model: str) -> str:
        async with self._starting:
            while self._engine is None:
                engine = self._engines.remote(self._task)
                try:
                    self._tag = await engine.start.remote(model)
                except RayActorError:  # this node died, too
                    continue
                self._engine = engine
            return self._tag

    async def answers(self, asked: Sequence[Asked]) -> list[Answer]:
        engine = self._engine
        if engine is None:
            raise Lost
        try:
            found: list[Answer] = await engine.answers.remote(asked)
        except RayActorError as error:
            if self._engine is engine:
                self._engine = None
            raise Lost from error
        return found

    async def close(self) -> None:
        if self._engine is not None:
            ray.kill(self._engine)
