"""names and sizes → models of the fake task that open at once, slowly or never, for one engine."""

import asyncio
import threading
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fake_models import shouting
from fake_tasks import WEIGH, ShoutRequest

from service import store
from service.engine import Engine
from service.served import Served
from service.settings import Settings
from service.tasks import Task

SIZE_BYTES = 100


class Named:
    """A model without graphs, whose name its answers bear."""

    def __init__(self, name: str) -> None:
        self.name = name

    def stop(self) -> None:
        """It has no run that could be ended."""


class Store:
    """What the engine finds: models by tag, and what happens when one is opened."""

    def __init__(self) -> None:
        self.tasks = [shouting(), replace(WEIGH, load_assets=lambda folder: None)]
        self.newest: dict[str, list[str]] = {}
        """Name → its tags, the newest first."""
        self.opened: Counter[str] = Counter()
        self.broken: set[str] = set()
        self.held: dict[str, threading.Event] = {}
        """Those that open only once they are let."""

    def add(self, tag: str) -> None:
        self.newest.setdefault(tag.partition(":")[0], []).insert(0, tag)

    def hold(self, tag: str) -> threading.Event:
        return self.held.setdefault(tag, threading.Event())

    def open(self, folder: Path, task: Task, *, threads: int) -> Any:
        tag = folder.name
        self.opened[tag] += 1
        if tag in self.held:
            assert self.held[tag].wait(timeout=20)
        if tag in self.broken:
            raise store.BrokenModel(f"{tag}: decoder.onnx is changed")
        return Named(tag), None


def with_store(
    scenario: Callable[[Engine, Store], Awaitable[Any]], *tags: str, **settings: Any
) -> None:
    """Run it with an engine that serves these models, each of `SIZE_BYTES`."""
    made = Store()
    for tag in tags:
        made.add(tag)

    def scanned(self: Any) -> dict[str, list[Served]]:
        task_of = {"weigh-thing": made.tasks[1]}
        return {
            name: [
                Served(
                    task_of.get(name, made.tasks[0]), name, tag.partition(":")[2], Path("/", tag),
                    bytes=SIZE_BYTES,
                )
                for tag in tags
            ]
            for name, tags in made.newest.items()
        }  # fmt: skip

    async def run() -> None:
        engine = Engine(made.tasks, Settings(threads=1, **settings))
        async with asyncio.timeout(30):
            await engine.start()
            await scenario(engine, made)
            await engine.close()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "open_model", made.open)
        patch.setattr(store, "kind_of", lambda folder, task: task)
        patch.setattr("service.registry.Registry.scan", scanned)
        asyncio.run(run())


LAZY: dict[str, Any] = {"preload": ()}
TWO = {**LAZY, "model_memory_bytes": 2 * SIZE_BYTES}
ONE = {**LAZY, "model_memory_bytes": SIZE_BYTES}


async def ask(engine: Engine, model: str = "", **given: Any) -> str:
    answer = await engine.answer("shout", ShoutRequest(text="a", model=model), **given)
    return answer.model


def loaded(engine: Engine) -> set[str]:
    listed = engine.listing().models
    return {f"{one.name}:{one.version}" for one in listed if one.state == "loaded"}


async def until(condition: Any) -> None:
    while not condition():
        await asyncio.sleep(0.001)


def slow(made: Store) -> Any:
    """Requests of the task are computed until this event is set."""
    event = threading.Event()

    def forward(model: Any, assets: Any, items: Any) -> list[dict[str, Any]]:
        if model.name in held:
            assert event.wait(timeout=20)
        return [{} for _ in items]

    held: set[str] = set()
    made.tasks[0] = shouting(forward=forward)
    return event, held
