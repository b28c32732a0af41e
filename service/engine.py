"""task name, request → response: the one entry behind both doors."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any

from service import store, telemetry
from service.batcher import Batcher
from service.errors import DeadlineExceeded, Problem, Unavailable
from service.schema import RequestModel, ResponseModel, Timings
from service.session import Model
from service.settings import Settings
from service.tasks import Task

log = logging.getLogger("attendant")


@dataclass(frozen=True)
class Loaded:
    """A task that can be served."""

    model: Model
    assets: Any
    batcher: Batcher


class Engine:
    """Loads a model per task and answers requests; one that fails does not stop the others."""

    def __init__(self, tasks: Sequence[Task], settings: Settings) -> None:
        self.tasks: Mapping[str, Task] = {task.name: task for task in tasks}
        self.settings = settings
        self.loaded: dict[str, Loaded] = {}
        self.faults: dict[str, str] = {}
        self.draining = False
        self.workers = ThreadPoolExecutor(settings.threads, thread_name_prefix="preprocess")

    async def start(self) -> None:
        """Load every task's model from the store and answer its example once."""
        for task in self.tasks.values():
            folder = store.locate(task.name)
            if folder is None:
                self._fail(task, f"{task.name}: no such model in the store; run make models")
                continue
            await self.load(task, folder)

    async def load(self, task: Task, folder: Path) -> None:
        """Open a model folder for a task; a broken one is reported and leaves the task out."""
        try:
            model, _ = store.open_model(folder, task, threads=self.settings.threads)
            assets = task.load_assets(folder)
        except store.BrokenModel as fault:
            self._fail(task, str(fault))
            return
        except Exception as error:  # assets of any kind, read by any library
            self._fail(task, f"{task.name}: {folder}: {error!r}")
            return
        batcher = Batcher(
            task.name,
            partial(task.forward, model, assets),
            task.cost,
            max_batch_cost=task.max_batch_cost,
            max_queue_cost=task.max_batch_cost * self.settings.queue_batches,
        )
        self.loaded[task.name] = Loaded(model, assets, batcher)
        self.faults.pop(task.name, None)
        try:
            await self.answer(task.name, task.example())
        except Exception as error:
            del self.loaded[task.name]
            await batcher.close()
            self._fail(task, f"{model.name}: its example is not answered: {error}")
            return
        telemetry.ready(task.name, True)

    def _fail(self, task: Task, fault: str) -> None:
        self.faults[task.name] = fault
        telemetry.ready(task.name, False)
        log.error("not served: %s", fault)

    def ready(self) -> bool:
        return bool(self.loaded) and not self.draining

    def status(self) -> dict[str, str]:
        """Task → `ready`, or why it is not served."""
        return {
            name: "ready" if name in self.loaded else self.faults.get(name, "loading")
            for name in self.tasks
        }

    async def answer(
        self, task: str, request: RequestModel, *, timeout_s: float | None = None
    ) -> ResponseModel:
        """Answer one request; raises a Problem."""
        if task not in self.loaded:
            raise Unavailable(self.status().get(task, f"there is no task {task}"))
        limit_s = self.settings.timeout_s
        allowed_s = limit_s if timeout_s is None else min(timeout_s, limit_s)
        try:
            return await asyncio.wait_for(self._answer(task, request), allowed_s)
        except TimeoutError as error:
            raise DeadlineExceeded(f"not answered within {allowed_s:.3g} s") from error
        except (Problem, asyncio.CancelledError, KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # the panic of a Rust library is no Exception
            log.exception("task=%s failed", task)
            raise Problem("the service failed on this request") from error

    async def _answer(self, name: str, request: RequestModel) -> ResponseModel:
        task, loaded = self.tasks[name], self.loaded[name]
        loop = asyncio.get_running_loop()
        start_s = monotonic()
        items = await loop.run_in_executor(self.workers, task.preprocess, request, loaded.assets)
        queued_s = monotonic()
        answers = await loaded.batcher.submit(items)
        began_s = min((answer.began_s for answer in answers), default=queued_s)
        ended_s = max((answer.ended_s for answer in answers), default=queued_s)
        rows = [answer.row for answer in answers]
        response = await loop.run_in_executor(
            self.workers, task.postprocess, request, loaded.assets, items, rows
        )
        timings = Timings(
            preprocess_ms=(queued_s - start_s) * 1e3,
            queue_ms=(began_s - queued_s) * 1e3,
            compute_ms=(ended_s - began_s) * 1e3,
            postprocess_ms=(monotonic() - ended_s) * 1e3,
        )
        telemetry.stages(name, timings)
        return response.model_copy(update={"model": loaded.model.name, "timings_ms": timings})

    async def close(self) -> None:
        """Finish what is queued, refuse the rest."""
        self.draining = True
        await asyncio.gather(*(loaded.batcher.close() for loaded in self.loaded.values()))
