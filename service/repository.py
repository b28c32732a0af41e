"""registry and memory → the life of models: found, loaded, renewed and unloaded."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from service import telemetry
from service.errors import Problem, Unavailable
from service.listing import ListModelsResponse, entry
from service.loaded import Loaded, made
from service.memory import Memory
from service.opening import opened
from service.registry import REMEDY, Registry, manifest_of
from service.rollout.rollout import Rollout
from service.rollout.shadow import Shadows
from service.served import Served
from service.session import Runner
from service.settings import Settings
from service.tasks import Task
from service.telemetry import Labels

log = logging.getLogger("attendant")
LOOK_S = 0.5
"""How often the file of routes is looked at."""


class Repository:
    """The life of all models; one that fails does not stop the others."""

    def __init__(self, tasks: Mapping[str, Task], settings: Settings) -> None:
        self._tasks, self._settings = tasks, settings
        self.registry = Registry(tasks, settings)
        self.memory = Memory(settings.model_memory_bytes, self._opened)
        self.shadows = Shadows(self.registry, self.memory, settings.timeout_s)
        self._rollout = Rollout(self.registry, self.memory)
        self._scanned = False
        self._changing = asyncio.Lock()

    async def _opened(self, model: Served) -> Loaded:
        assert model.folder is not None
        return await opened(model.task, model.labels, model.folder, self._settings)

    async def reload(self) -> None:
        """Take what is newer in the store; what does not open or answer leaves the old in place.

        The first time it takes all there is, and loads what is to be there from the start. Requests
        that have begun are finished by the version they began with.
        """
        async with self._changing:
            self._rollout.read()
            found = await self._found()
            self._scanned = True
            await self._take(found)
            await self._load_first()

    async def follow(self) -> None:
        """Obey the routes whenever they change, until cancelled; other models stay as they are."""
        while True:
            await asyncio.sleep(LOOK_S)
            if self._rollout.changed:
                async with self._changing:
                    names = self._rollout.read()
                    found = await self._found()
                    await self._take({name: found.get(name, []) for name in names})

    async def take(self, name: str) -> None:
        """Take what is newest in the store for one name, and load it; raises a Problem."""
        async with self._changing:
            found = await self._found()
            await self._take({name: found.get(name, [])})
            await self.memory.open(self.registry.named(name))
        if name in self.registry.stale:
            raise Unavailable(self.registry.stale[name])

    async def unload(self, name: str) -> None:
        """Serve a model no more until it is taken; requests that have begun are answered."""
        async with self._changing:
            for model in self.registry.versions(name):
                model.bar(f"{name} was unloaded")
                telemetry.ready(model.labels, False)
                await self.memory.close(model)

    async def load(self, task: Task, folder: Path) -> None:
        """Serve a folder as the task's own model; a broken one is reported and leaves it out."""
        manifest = manifest_of(folder)
        version = manifest.version if manifest else ""
        model = Served(task, task.name, version, folder, manifest)
        self.registry.make_current(model)
        await self._try(model)

    def serve(
        self, task: Task, name: str, model: Runner, assets: Any, stop: Callable[[], None]
    ) -> None:
        """Answer a task's own requests with this model from now on."""
        served = Served(task, task.name, name.partition(":")[2])
        self.registry.make_current(served)
        self.memory.put(
            served, made(task, served.labels, name, model, assets, self._settings, stop)
        )

    async def _found(self) -> dict[str, list[Served]]:
        found = await asyncio.to_thread(self.registry.scan)
        return {name: self._rollout.ordered(name, models) for name, models in found.items()}

    async def _take(self, found: Mapping[str, Sequence[Served]]) -> None:
        """What names mean is the first of these versions; candidates come and go."""
        withdrawn = self._rollout.withdraw()
        await self._renew(found)
        await self._rollout.enter(found, self._settings.timeout_s)
        await asyncio.gather(*(self.memory.close(candidate) for candidate in withdrawn))

    async def _renew(self, found: Mapping[str, Sequence[Served]]) -> None:
        superseded = []
        for name, versions in found.items():
            self.registry.keep(name, [model.version for model in versions])
            known = [self.registry.known(model.tag) or model for model in versions]
            for model in known:
                model.allow()
            old = self.registry.current(name)
            if known and (old is None or old.loaded is None or await self._newer(old, known[0])):
                if old is not None and old is not known[0] and old.loaded is not None:
                    superseded.append(old)
                self.registry.make_current(known[0])
            for model in known:
                self.registry.put(model)
                telemetry.ready(model.labels, not model.fault)
        await asyncio.gather(*(self.memory.close(old) for old in superseded))

    async def _newer(self, old: Served, new: Served) -> bool:
        """Load what is to take the place of a loaded version; False where that stays."""
        if old is new:
            return False
        try:
            async with asyncio.timeout(self._settings.timeout_s):
                await self.memory.open(new)
        except (Problem, TimeoutError) as problem:
            fault = str(problem) or f"{new.tag}: found no room in memory"
            self.registry.stale[new.name] = fault
            log.error("%s stays: %s", old.tag, fault)
            return False
        log.info("%s in place of %s", new.tag, old.tag)
        return True

    def _first(self) -> Iterable[str]:
        chosen = self._settings.preload
        return map(self.registry.default, self._tasks) if chosen is None else chosen

    async def _load_first(self) -> None:
        """Load what is to be there before it is asked for, as far as there is room."""
        for task in self._tasks:
            default = self.registry.default(task)
            if self.registry.current(default) is None:
                telemetry.ready(Labels(task, default), False)
                log.error("not served: %s: %s", default, REMEDY)
        first = map(self.registry.current, self._first())
        await asyncio.gather(
            *(self._load_early(model) for model in first if model and model.loaded is None)
        )

    async def _load_early(self, model: Served) -> None:
        # Nothing is awaited until its room is taken, so those before it are counted.
        if self.memory.has_room(model):
            await self._try(model)
        else:
            log.warning("%s is loaded when it is asked for: there is no room now", model.tag)

    async def _try(self, model: Served) -> None:
        try:
            await self.memory.open(model)
        except Problem as problem:
            telemetry.ready(model.labels, False)
            log.error("not served: %s", problem)

    def ready(self) -> bool:
        """Some task is served."""
        defaults = (self.registry.current(self.registry.default(task)) for task in self._tasks)
        return any(model is not None and not model.fault for model in defaults)

    def status(self) -> dict[str, str]:
        """Task → `ready`, or why it is not served, or is served by an older version."""
        return {task: self._status(task) for task in self._tasks}

    def _status(self, task: str) -> str:
        name = self.registry.default(task)
        model = self.registry.current(name)
        if model is None:
            return f"{name}: {REMEDY}" if self._scanned else "loading"
        if model.fault:
            return model.fault
        stale = self.registry.stale.get(name)
        return f"ready, but not with the newest: {stale}" if stale else "ready"

    def listing(self) -> ListModelsResponse:
        """Every model with its card."""
        return ListModelsResponse(
            models=[
                entry(model, is_current=not at, is_default=name == self.registry.default(task))
                for name in self.registry.names()
                for at, model in enumerate(self.registry.versions(name))
                for task in [model.task.name]
            ],
            memory_bytes=self.memory.held_bytes,
            budget_bytes=self._settings.model_memory_bytes,
        )

    async def close(self) -> None:
        await self.shadows.close()
        await self.memory.close_all()
