"""`python -m loadtests.serving.chaos`: faults done to servers under load, one after the other."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer
from rich.console import Console

from loadtests.scenarios import scenario, scenarios
from loadtests.serving.attendant import STORE, Attendant, attendant, prepared
from loadtests.serving.calls import Caller
from loadtests.serving.chaos import clock
from loadtests.serving.chaos.drain import drained
from loadtests.serving.chaos.faults import FAULTS, VICTIM
from loadtests.serving.chaos.reload import reloaded
from loadtests.serving.chaos.watch import Watch, watching
from loadtests.serving.goldens import recorded
from loadtests.serving.verdict import Row, conclude
from service.tasks import Task, task, tasks


async def under_watch(
    server: Attendant, served: list[Task], fault: Callable[[Watch], Awaitable[list[Row]]]
) -> list[Row]:
    async with Caller(server.url, server.grpc) as caller:
        goldens = await recorded(caller, scenarios(served))
        async with watching(server, caller, goldens) as watch:
            return await fault(watch)


async def under_load(
    server: Attendant, served: list[Task], *, rate_per_s: float, seed: int
) -> list[Row]:
    async with Caller(server.url, server.grpc) as caller:
        goldens = await recorded(caller, scenarios(served))
    return await drained(server, goldens, rate_per_s=rate_per_s, seed=seed)


async def renewed(server: Attendant, *, rate_per_s: float, seed: int) -> list[Row]:
    async with Caller(server.url, server.grpc) as caller:
        goldens = await recorded(caller, [scenario(task(VICTIM))])
        return await reloaded(server, caller, goldens, rate_per_s=rate_per_s, seed=seed)


def clock_rows(served: list[Task], store: Path | None) -> list[Row]:
    """The jumps of the clock, on a server of their own."""
    preload = clock.library()
    if preload is None:
        saw = "libfaketime is not installed; setting the machine's clock takes privileges"
        return [Row(tried="clock jump", saw=saw, met="skipped")]
    with TemporaryDirectory() as folder:
        told = Path(folder) / "time"
        with attendant(store, clock.variables(preload, told), bentoml=True) as server:
            return asyncio.run(under_watch(server, served, lambda watch: clock.jumped(watch, told)))


def main(
    fault: Annotated[list[str] | None, typer.Option(help="Only these.")] = None,
    rate_per_s: Annotated[float, typer.Option(min=0.1, help="Load of reload and drain.")] = 8.0,
    seed: Annotated[int, typer.Option()] = 0,
    only: Annotated[list[str] | None, typer.Option(help="Only these tasks.")] = None,
    store: Annotated[Path, typer.Option(help="Model store to copy.")] = STORE,
    bare: Annotated[bool, typer.Option("--bare", help="Without models from a package.")] = False,
    record: Annotated[Path | None, typer.Option(help="Keep the table in this file.")] = None,
) -> None:
    """Do every fault to a server of our own under load, and print what was seen."""
    known = [*(each.__name__ for each in FAULTS), "clock", "reload", "drain"]
    chosen = fault or known
    if unknown := sorted(set(chosen) - set(known)):
        raise typer.BadParameter(f"no {', '.join(unknown)}; there are {', '.join(known)}")
    served = [task for task in tasks() if not only or task.name in only]
    copied = None if bare else prepared(store)
    console = Console()
    rows: list[Row] = []
    for each in FAULTS:
        if each.__name__ in chosen:
            with console.status(each.__name__), attendant(copied) as server:
                rows += asyncio.run(under_watch(server, served, each))
    if "clock" in chosen:
        with console.status("clock"):
            rows += clock_rows(served, copied)
    if "reload" in chosen:
        with console.status("reload"), attendant(copied) as server:
            rows += asyncio.run(renewed(server, rate_per_s=rate_per_s, seed=seed))
    if "drain" in chosen:
        with console.status("drain"), attendant(copied) as server:
            rows += asyncio.run(under_load(server, served, rate_per_s=rate_per_s, seed=seed))
    conclude("chaos", rows, {"seed": seed, "requests/s": rate_per_s}, record=record)


if __name__ == "__main__":
    typer.run(main)
