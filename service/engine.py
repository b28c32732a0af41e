"""task name, request → response: the one entry behind both doors."""

import asyncio
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Mapping,
    Sequence,
)
from contextlib import asynccontextmanager
from pathlib import Path
from time import monotonic
from typing import Any, TypeVar

from service import telemetry
from service.deadline import within
from service.errors import Unavailable
from service.listing import ListModelsResponse
from service.loaded import Loaded
from service.refusals import Refusals
from service.repository import Repository
from service.schema import Partial, RequestModel, ResponseModel, Timings
from service.served import Served
from service.session import Runner
from service.settings import Settings
from service.stream import Reading, streamed
from service.tasks import Item, Row, Task
from service.threads import one_for_each_product

T = TypeVar("T")


class Engine:
    """Answers requests with the model that each names, or with its task's default."""

    def __init__(self, tasks: Sequence[Task], settings: Settings) -> None:
        self.tasks: Mapping[str, Task] = {task.name: task for task in tasks}
        self.settings = settings
        self.models = Repository(self.tasks, settings)
        self.refusals = Refusals()
        self.draining = False
        self._following: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Find the models of the store, and load those that are to be there from the start."""
        one_for_each_product()
        await self.models.reload()
        self._following = asyncio.create_task(self.models.follow())

    async def load(self, task: Task, folder: Path) -> None:
        """Serve a task with a model folder; a broken one is reported and leaves the task out."""
        await self.models.load(task, folder)

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
        self.models.serve(task, name, model, assets, stop)

    def begin_drain(self) -> None:
        """Say that we are not ready from now on; requests are still answered."""
        self.draining = True

    def ready(self) -> bool:
        return self.models.ready() and not self.draining

    def status(self) -> dict[str, str]:
        """Task → `ready`, or why it is not served, or is served by an older version."""
        return self.models.status()

    def listing(self) -> ListModelsResponse:
        """Every model that may be asked for, with its card."""
        return self.models.listing()

    def find(self, task: str, asked: str = "") -> Served:
        """The model of a request, which counts for it from now on; raises a Problem."""
        if task not in self.tasks:
            raise Unavailable(f"there is no task {task}")
        model = self.models.registry.find(task, asked)
        telemetry.asks(model.labels)
        return model

    async def opened(self, model: Served) -> Loaded:
        """A model, loaded if it is not, for what needs to look at it; raises a Problem."""
        memory = self.models.memory
        return await within(self.settings.timeout_s, lambda _: memory.open(model), model.tag)

    def foresee(self, task: str, *, timeout_s: float, priority: int = 0) -> None:
        """Raise Overloaded where a request had better not come now, before anything is read.

        Only where all requests of the task mean one model. Of no use to one of a higher priority,
        which passes those that wait.
        """
        names = self.models.registry.names(task)
        only = self.models.registry.current(names[0]) if len(names) == 1 else None
        if only and only.loaded and not priority:
            only.loaded.foresee(monotonic() + timeout_s)

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

        async def work(loaded: Loaded, deadline_s: float) -> ResponseModel:
            return await loaded.answer(request, deadline_s, priority=priority)

        model = self.find(task, request.model)
        response = await self._admit(model, work, timeout_s)
        self._shadow(model, request)
        return response

    def _shadow(self, model: Served, request: RequestModel) -> None:
        if not self.draining and ":" not in request.model:
            self.models.shadows.send(model, request)

    def stream(
        self,
        task: str,
        request: RequestModel,
        *,
        timeout_s: float | None = None,
        priority: int = 0,
    ) -> AsyncGenerator[Partial | ResponseModel]:
        """As `answer`, for a task that generates: its texts as they come, then the response."""
        generation, model = self.tasks[task].generation, self.find(task, request.model)
        assert generation is not None, f"{task} has no tokens to stream"

        def ask(reading: Reading) -> Coroutine[Any, Any, ResponseModel]:
            async def work(loaded: Loaded, deadline_s: float) -> ResponseModel:
                return await loaded.answer(request, deadline_s, priority=priority, reading=reading)

            async def asked() -> ResponseModel:
                response = await self._admit(model, work, timeout_s)
                self._shadow(model, request)
                return response

            return asked()

        return streamed(model.labels, generation, ask)

    async def rows(
        self,
        model: Served,
        items: Sequence[Item],
        *,
        timeout_s: float | None = None,
        priority: int = 0,
    ) -> tuple[list[Row], str, Timings]:
        """What the model makes of items that need no reading, its name, and where the time went.

        They share batches with those of requests. Raises a Problem, as `answer` does.
        """

        async def work(loaded: Loaded, deadline_s: float) -> tuple[list[Row], str, Timings]:
            return await loaded.rows(items, deadline_s, priority=priority)

        return await self._admit(model, work, timeout_s)

    async def _admit(
        self,
        model: Served,
        work: Callable[[Loaded, float], Awaitable[T]],
        timeout_s: float | None,
    ) -> T:
        """Do the work with a model, which is loaded first if it has to be, until a deadline."""
        limit_s = self.settings.of(model.name).timeout_s
        allowed_s = limit_s if timeout_s is None else min(timeout_s, limit_s)

        async def begin(deadline_s: float) -> T:
            async with self.held(model) as loaded:
                return await work(loaded, deadline_s)

        return await within(allowed_s, begin, model.tag)

    @asynccontextmanager
    async def held(self, model: Served) -> AsyncIterator[Loaded]:
        """A model, which is loaded first if it has to be, and stays until it is let go."""
        memory = self.models.memory
        loaded = await memory.open(model)
        try:
            with loaded.gate:
                yield loaded
        finally:
            memory.freed()

    async def close(self) -> None:
        """Finish what is queued, refuse the rest."""
        self.draining = True
        if self._following:
            self._following.cancel()
        await self.models.close()
