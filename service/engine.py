"""task name, request → response: the one entry behind both doors."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any, TypeVar

from service import store, telemetry
from service.errors import DeadlineExceeded, Problem, Unavailable
from service.loaded import Loaded, cores, made
from service.schema import Partial, RequestModel, ResponseModel, Timings
from service.session import Runner
from service.settings import Settings
from service.stream import Reading, streamed
from service.tasks import Item, Row, Task
from service.threads import behind_the_doors
from service.waiting import Answer

T = TypeVar("T")

log = logging.getLogger("attendant")


class Engine:
    """Loads a model per task and answers requests; one that fails does not stop the others."""

    def __init__(self, tasks: Sequence[Task], settings: Settings) -> None:
        self.tasks: Mapping[str, Task] = {task.name: task for task in tasks}
        self.settings = settings
        self.loaded: dict[str, Loaded] = {}
        self.faults: dict[str, str] = {}
        self.draining = False
        self._reloading = asyncio.Lock()

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
            loaded = self.loaded[task.name] = await self._open(task, folder)
        except store.BrokenModel as fault:
            self._fail(task, str(fault))
            return
        self.faults.pop(task.name, None)
        telemetry.model(task.name, loaded.name)
        telemetry.ready(task.name, True)

    async def reload(self) -> None:
        """Take what is newer in the store; what does not open or answer leaves the old in place.

        Requests that have begun are finished by the version they began with.
        """
        async with self._reloading:
            for task in self.tasks.values():
                await self._reload(task)

    async def take(self, name: str) -> None:
        """Take what is newest in the store for one task; raises Unavailable if it is not served."""
        async with self._reloading:
            await self._reload(self.tasks[name])
        if name in self.faults:
            raise Unavailable(self.faults[name])

    async def unload(self, name: str) -> None:
        """Serve a task no more; requests that have begun are answered."""
        async with self._reloading:
            old = self.loaded.pop(name, None)
            self.faults[name] = f"{name} was unloaded"
            telemetry.ready(name, False)
            if old:
                await old.gate.empty()
                await old.close()

    async def _reload(self, task: Task) -> None:
        old, folder = self.loaded.get(task.name), store.locate(task.name)
        if folder is None or (old and old.name == store.newest(task.name)):
            return
        if old is None:
            await self.load(task, folder)
            return
        try:
            new = await self._open(task, folder)
        except store.BrokenModel as fault:
            self.faults[task.name] = str(fault)
            log.error("%s stays: %s", old.name, fault)
            return
        self.loaded[task.name] = new
        self.faults.pop(task.name, None)
        telemetry.model(task.name, new.name)
        log.info("%s in place of %s", new.name, old.name)
        await old.gate.empty()
        await old.close()

    async def _open(self, task: Task, folder: Path) -> Loaded:
        """A model folder, opened beside the loop, its example answered; raises BrokenModel."""
        try:
            task = await asyncio.to_thread(store.kind_of, folder, task)
            threads = cores(task, self.settings)
            # What runs the graphs inherits the priority of the thread that opens them.
            with ThreadPoolExecutor(1, initializer=behind_the_doors) as opening:
                open_model = partial(store.open_model, folder, task, threads=threads)
                loop = asyncio.get_running_loop()
                model, _ = await loop.run_in_executor(opening, open_model)
            assets = await asyncio.to_thread(task.load_assets, folder)
        except store.BrokenModel:
            raise
        except Exception as error:  # assets of any kind, read by any library
            raise store.BrokenModel(f"{task.name}: {folder}: {error!r}") from error
        loaded = made(task, model.name, model, assets, self.settings, model.stop)
        try:
            example = task.example()
            request = task.adapt(example, assets) if task.adapt else example
            work = partial(self._answer, request=request)
            await self._bounded(loaded, work, self.settings.timeout_s)
        except Exception as error:
            await loaded.close()
            fault = f"{model.name}: its example is not answered: {error}"
            raise store.BrokenModel(fault) from error
        return loaded

    def serve(
        self,
        task: Task,
        name: str,
        model: Runner,
        assets: Any,
        *,
        stop: Callable[[], None] = lambda: None,
    ) -> None:
        """Answer a task's requests with this model from now on; `stop` ends a run of its graphs."""
        self.loaded[task.name] = made(task, name, model, assets, self.settings, stop)
        telemetry.model(task.name, name)

    def _fail(self, task: Task, fault: str) -> None:
        self.faults[task.name] = fault
        telemetry.ready(task.name, False)
        log.error("not served: %s", fault)

    def begin_drain(self) -> None:
        """Say that we are not ready from now on; requests are still answered."""
        self.draining = True

    def ready(self) -> bool:
        return bool(self.loaded) and not self.draining

    def status(self) -> dict[str, str]:
        """Task → `ready`, or why it is not served, or is served by an older version."""
        return {name: self._status(name) for name in self.tasks}

    def _status(self, name: str) -> str:
        fault = self.faults.get(name)
        if name not in self.loaded:
            return fault or "loading"
        return f"ready, but not with the newest: {fault}" if fault else "ready"

    def foresee(self, task: str, *, timeout_s: float, priority: int = 0) -> None:
        """Raise Overloaded where a request had better not come now, before anything is read.

        Of no use to a request of a higher priority, which passes those that wait.
        """
        if task in self.loaded and not priority:
            self.loaded[task].foresee(monotonic() + timeout_s)

    async def answer(
        self,
        task: str,
        request: RequestModel,
        *,
        timeout_s: float | None = None,
        priority: int = 0,
    ) -> ResponseModel:
        """Answer one request; raises a Problem. Nothing is computed for a caller that has gone.

        A request of a higher `priority` is treated as one that came a second earlier for each step.
        """
        work = partial(self._answer, request=request, priority=priority)
        return await self._admit(task, work, timeout_s)

    def stream(
        self,
        task: str,
        request: RequestModel,
        *,
        timeout_s: float | None = None,
        priority: int = 0,
    ) -> AsyncGenerator[Partial | ResponseModel]:
        """As `answer`, for a task that generates: its texts as they come, then the response."""
        generation = self.tasks[task].generation
        assert generation is not None, f"{task} has no tokens to stream"

        def ask(reading: Reading) -> Coroutine[Any, Any, ResponseModel]:
            work = partial(self._answer, request=request, priority=priority, reading=reading)
            return self._admit(task, work, timeout_s)

        return streamed(task, generation, ask)

    async def rows(
        self,
        task: str,
        items: Sequence[Item],
        *,
        timeout_s: float | None = None,
        priority: int = 0,
    ) -> tuple[list[Row], str, Timings]:
        """What the model makes of items that need no reading, its name, and where the time went.

        They share batches with those of requests. Raises a Problem, as `answer` does.
        """

        async def work(loaded: Loaded, deadline_s: float) -> tuple[list[Row], str, Timings]:
            start_s = monotonic()
            answers = await loaded.lane.submit(items, deadline_s=deadline_s, priority=priority)
            timings = _timings(start_s, start_s, answers)
            telemetry.stages(task, timings)
            return [answer.row for answer in answers], loaded.name, timings

        return await self._admit(task, work, timeout_s)

    async def _admit(
        self,
        task: str,
        work: Callable[[Loaded, float], Awaitable[T]],
        timeout_s: float | None,
    ) -> T:
        """Do the work with the model that the task has now, until a deadline."""
        if task not in self.loaded:
            raise Unavailable(self.status().get(task, f"there is no task {task}"))
        limit_s = self.settings.timeout_s
        allowed_s = limit_s if timeout_s is None else min(timeout_s, limit_s)
        loaded = self.loaded[task]
        with loaded.gate:
            return await self._bounded(loaded, work, allowed_s)

    async def _bounded(
        self, loaded: Loaded, work: Callable[[Loaded, float], Awaitable[T]], allowed_s: float
    ) -> T:
        deadline_s = monotonic() + allowed_s
        try:
            async with asyncio.timeout(allowed_s):
                return await work(loaded, deadline_s)
        except TimeoutError as error:
            raise DeadlineExceeded(f"not answered within {allowed_s:.3g} s") from error
        except (Problem, asyncio.CancelledError, KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # the panic of a Rust library is no Exception
            log.exception("task=%s failed", loaded.task.name)
            raise Problem("the service failed on this request") from error

    async def _answer(
        self,
        loaded: Loaded,
        deadline_s: float,
        *,
        request: RequestModel,
        priority: int = 0,
        reading: Reading | None = None,
    ) -> ResponseModel:
        start_s, task = monotonic(), loaded.task
        items = await loaded.read(request, deadline_s)
        queued_s = monotonic()
        watched = reading if task.generation else None
        if watched:
            watched.begin(items, loaded.assets)
        answers = await loaded.lane.submit(
            items,
            deadline_s=deadline_s,
            priority=priority,
            watch=watched.watch if watched else None,
        )
        rows = [answer.row for answer in answers]
        response = await asyncio.get_running_loop().run_in_executor(
            loaded.workers, task.postprocess, request, loaded.assets, items, rows
        )
        timings = _timings(start_s, queued_s, answers)
        telemetry.stages(task.name, timings)
        return response.model_copy(update={"model": loaded.name, "timings_ms": timings})

    async def close(self) -> None:
        """Finish what is queued, refuse the rest."""
        self.draining = True
        await asyncio.gather(*(loaded.close() for loaded in self.loaded.values()))


def _timings(start_s: float, queued_s: float, answers: Sequence[Answer]) -> Timings:
    """Where the time went of a request that has been answered just now."""
    began_s = min((answer.began_s for answer in answers), default=queued_s)
    ended_s = max((answer.ended_s for answer in answers), default=queued_s)
    return Timings(
        preprocess_ms=(queued_s - start_s) * 1e3,
        queue_ms=(began_s - queued_s) * 1e3,
        compute_ms=(ended_s - began_s) * 1e3,
        postprocess_ms=(monotonic() - ended_s) * 1e3,
    )
