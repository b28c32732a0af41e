"""`python -m loadtests.batch`: offline batch beside the engine of the service, in turns.

Both answer the same items on the same cores. The engine is asked by as many callers as keep it
busy, with requests that lie ready in memory; a batch reads its items from a file and writes shards,
with its engines in processes of their own. A batch is held against the engine by the ratio within
each round.
"""

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Annotated, Any

import typer

os.environ.setdefault("BENTOML_DO_NOT_TRACK", "True")
os.environ.setdefault("OTEL_SDK_DISABLED", "true")

from loadtests.batch.inputs import FIXED, written
from loadtests.batch.kills import killed
from loadtests.serving.verdict import Row, conclude, judged
from service.batch import processes, rows
from service.batch.asking import Asking, content_field
from service.batch.output import Asked, Output
from service.batch.records import records
from service.batch.run import Run
from service.batch.shards import usual_items
from service.batch.worker import LocalWorker
from service.settings import Settings
from service.setup import install_shipped
from service.tasks import Task, task_names
from service.tasks import task as task_of

LEAST = 0.95
"""Of the engine's own items a second."""
SPEECH = "automatic-speech-recognition"
SPEECH_SHARE = 10
"""An item is a recording of seconds, so one of so many has to do."""
SHARD_ITEMS = 250
"""Enough of them that the next is read while one is answered, as in a long run."""


async def asked(worker: LocalWorker, requests: Sequence[Any], callers: int) -> None:
    """What the engine does by itself: callers who each ask as soon as they are answered."""
    left = iter(requests)

    async def call() -> None:
        for request in left:
            await worker.engine.answer(worker.task.name, request)

    await asyncio.gather(*(call() for _ in range(callers)))


async def compared(
    task: Task, fixed: dict[str, str], items: int, rounds: int, folder: Path
) -> list[tuple[float, float]]:
    """Items a second of the engine and of a batch, for each round after one that does not count."""
    path = written(task, items, folder)
    asking = Asking(task, {}, fixed, folder)
    worker = LocalWorker(task, Settings())
    tag = await worker.start("")
    values = [asking.request(one.read()) for one in records(path, content_field(task))]
    requests = [task.request.model_validate(one) for one in values]
    workers = processes.workers(task, None)
    for one in workers:
        await one.start(tag)
    terms = Asked(task=task.name, model=tag, input="", columns={}, fixed={}, shard_items=1)

    async def batch(turn: int) -> None:
        output = Output(folder / f"out-{turn}", ".jsonl")
        output.begin(terms)
        run = Run(asking, tag, output, rows.lines, lambda _: None, workers)
        await run.all(records(path, content_field(task)), min(SHARD_ITEMS, usual_items(task.name)))
        output.close()

    seen = []
    for turn in range(rounds + 1):
        times = {}
        ways = {"engine": lambda: asked(worker, requests, worker.under_way),
                "batch": lambda: batch(turn)}  # fmt: skip # noqa: B023
        for name in ways if turn % 2 else reversed(ways):
            began_s = perf_counter()
            await ways[name]()
            times[name] = perf_counter() - began_s
        if turn:
            seen.append((items / times["engine"], items / times["batch"]))
    for one in (worker, *workers):
        await one.close()
    return seen


def main(
    task: Annotated[list[str] | None, typer.Option(help="Only these tasks.")] = None,
    items: Annotated[int, typer.Option(min=1, help="Of each round; fewer recordings.")] = 2_000,
    rounds: Annotated[int, typer.Option(min=1)] = 5,
    kills: Annotated[int, typer.Option(min=0, help="Of a batch of translations.")] = 5,
    record: Annotated[Path | None, typer.Option(help="Keep the table in this file.")] = None,
) -> None:
    """Compare items per second, and kill a batch; exits 1 where it loses more than it may."""
    table: list[Row] = []
    for name in task or [each.replace("_", "-") for each in task_names()]:
        said = install_shipped(only=name)[name]
        if not said.startswith(f"{name}:"):
            table.append(Row(tried=name, saw=said, met="skipped"))
            continue
        count = max(1, items // SPEECH_SHARE) if name == SPEECH else items
        with TemporaryDirectory() as folder:
            fixed = FIXED.get(name, {})
            seen = asyncio.run(compared(task_of(name), fixed, count, rounds, Path(folder)))
        ratio = median(batch / engine for engine, batch in seen)
        engine, batch = (median(one) for one in zip(*seen, strict=True))
        saw = f"{ratio:.3f} x; {batch:.4g}/s beside {engine:.4g}/s"
        table.append(judged(name, saw, f"at least {LEAST} x the engine", met=ratio >= LEAST))
    if kills:
        with TemporaryDirectory() as folder:
            table.append(killed(items, kills, Path(folder)))
    conclude("bench-batch", table, {"items": items, "rounds": rounds}, record=record)


if __name__ == "__main__":
    typer.run(main)
