"""the fake task with a model of no graphs → an engine that runs it, for the tests of the engine."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_tasks import SHOUT, ShoutRequest, shout

from service import store
from service.engine import Engine
from service.loaded import Loaded
from service.settings import Settings
from service.tasks import Task

SETTINGS = Settings(threads=1)


def shouting(**changes: Any) -> Task:
    """The fake task with a model of no graphs, so that the engine can run it."""

    def preprocess(request: ShoutRequest, _: Any) -> list[dict[str, Any]]:
        return [{"index": np.array(0)}]

    task = replace(
        SHOUT,
        load_assets=lambda folder: None,
        preprocess=preprocess,
        forward=lambda model, assets, items: [{} for _ in items],
        postprocess=lambda request, assets, items, rows: shout(request),
        cost=lambda item: 1,
        generation=None,
    )
    return replace(task, **changes)


def in_memory(engine: Engine, task: str) -> Loaded:
    """The default model of a task, which is loaded."""
    loaded = engine.find(task).loaded
    assert loaded is not None
    return loaded


def no_graphs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fake task's folder is whatever it is asked for."""
    right, kind_of = store.open_model, store.kind_of

    class Named:
        name = "shout:1"

        def stop(self) -> None:
            """It has no run that could be ended."""

    def open_model(folder: Path, task: Task, *, threads: int) -> Any:
        return (Named(), None) if task.name == "shout" else right(folder, task, threads=threads)

    def kind(folder: Path, task: Task) -> Task:
        return task if task.name == "shout" else kind_of(folder, task)

    monkeypatch.setattr(store, "open_model", open_model)
    monkeypatch.setattr(store, "kind_of", kind)


def with_engine(
    scenario: Callable[[Engine], Awaitable[Any]], *tasks: Task, settings: Settings = SETTINGS
) -> None:
    async def run() -> None:
        engine = Engine(tasks, settings)
        async with asyncio.timeout(30):
            await scenario(engine)
            await engine.close()

    with pytest.MonkeyPatch.context() as patch:
        no_graphs(patch)
        asyncio.run(run())
