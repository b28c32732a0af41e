"""models of a store → their latency and throughput through the service, in their records.

`python -m loadtests.system NAME...` asks each for its task's example: one caller for the latency,
many who wait for each answer for the throughput. docs/comparison.md shows what is in docs/systems.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import httpx
import typer
from rich.console import Console

from loadtests.lab.payloads import line_of
from loadtests.lab.run import Prepared, Target, Way, measure, prepare
from loadtests.peers.machine import machine
from loadtests.results import Cell, Run
from loadtests.serving.attendant import STORE, attendant, prepared
from models.systems import FOLDER, Serving, System, write
from service.listing import ListModelsResponse, Model
from service.tasks import task as task_of

DOOR = "REST"
app = typer.Typer(add_completion=False)


class Unsound(Exception):
    """Figures that must not be believed; the message says why."""


def listed(url: str) -> dict[str, Model]:
    """Name → the model that it means on a server."""
    reply = httpx.get(f"{url}/models")
    reply.raise_for_status()
    models = ListModelsResponse.model_validate_json(reply.content).models
    return {model.name: model for model in models if model.is_current}


def asked(model: Model, url: str, folder: Path) -> Prepared:
    """A server that answers the example of the model's task with this model."""
    of = task_of(model.task)
    request = of.example().model_copy(update={"model": f"{model.name}:{model.version}"})
    trace = folder / f"{model.name}.jsonl"
    trace.write_text(line_of(of, request, 0.0) + "\n", encoding="utf-8")
    return prepare(Target(url, "", doors=(DOOR,), mix={model.task: 1.0}, payloads=str(trace)))


def cell(run: Run) -> Cell:
    """What came of a run; raises Unsound."""
    if run.void:
        raise Unsound("; ".join(run.void))
    (found,) = run.cells()
    return found


def served(server: Prepared, model: Model, *, duration_s: float, users: int) -> System:
    """Latency and throughput of a prepared server, for the record of the model."""
    alone = cell(measure(server, Way("single-stream", duration_s))).latency
    together = measure(server, Way("closed", duration_s, users=users))
    here = machine()
    return System(
        name=model.name,
        task=model.task,
        architecture=model.card.architecture,
        version=model.version,
        serving=Serving(
            p50_ms=round(alone.percentile_ms(0.5), 2),
            p90_ms=round(alone.percentile_ms(0.9), 2),
            per_s=round(cell(together).answered / together.duration_s, 2),
            users=users,
            door=DOOR,
            machine=f"{here.cpu}, {here.cores} cores",
            version=model.version,
            command=f"python -m loadtests.system {model.name} --duration {duration_s:g}",
        ),
    )


@contextmanager
def server(against: str | None) -> Iterator[str]:
    """The address of the one named, or of one that is started with the shipped models."""
    if against is not None:
        yield against.rstrip("/")
        return
    with attendant(prepared(STORE)) as own:
        yield own.url


@app.command()
def main(
    names: Annotated[list[str] | None, typer.Argument(help="Models; all the server has.")] = None,
    against: Annotated[
        str | None, typer.Option(help="HTTP address of a running server; else one is started.")
    ] = None,
    duration: Annotated[float, typer.Option(min=1, help="Seconds of each of the two loads.")] = 30,
    users: Annotated[int, typer.Option(min=1, help="Callers of the second load.")] = 16,
    out: Annotated[Path, typer.Option(help="Folder of the records.")] = FOLDER,
) -> None:
    """Measure models through the service, and write it into their records."""
    console = Console(width=None if Console().is_terminal else 140)
    with server(against) as url, TemporaryDirectory() as folder:
        models = listed(url)
        if unknown := set(names or []) - set(models):
            raise typer.BadParameter(
                f"no such model: {', '.join(sorted(unknown))}; there are {', '.join(models)}"
            )
        unsound = 0
        for name in names or models:
            try:
                ready = asked(models[name], url, Path(folder))
                found = served(ready, models[name], duration_s=duration, users=users)
            except Unsound as error:
                console.print(f"{name}: not recorded: {error}", markup=False)
                unsound += 1
                continue
            console.print(f"{write(found, out)}: {found.serving}", markup=False)
    raise typer.Exit(int(unsound > 0))


if __name__ == "__main__":
    app()
