"""`python -m export model NAME`, `tune NAME`: trained model → the store, and what was checked."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from export.model import export_model
from export.precision import PRECISIONS, change_precision
from export.publish import replacing
from export.published import from_published
from export.refusal import Refusal
from export.source import from_package, from_run
from export.targets import TARGETS
from export.tune import tune
from models.checkpoint import BadCheckpoint
from models.survey import BadData
from service import store
from service.manifest import Manifest
from service.setup import FetchError
from service.tasks import task_names

app = typer.Typer(add_completion=False)


def report(manifest: Manifest) -> Table:
    table = Table("graph", "attention ops", "cases", "largest difference")
    for name, parity in manifest.parity.graphs.items():
        ops = ", ".join(f"{count} {op}" for op, count in parity.attention_ops.items())
        largest = f"{parity.largest_difference:.2g}"
        if parity.float16:
            share, ran_on = parity.float16.largest_share, parity.float16.provider
            largest += f"; in float16 {share:.2g} of the largest value, run on {ran_on}"
        table.add_row(name, ops, str(parity.cases), largest)
    return table


@contextmanager
def refused(console: Console, outcome: str) -> Iterator[None]:
    """Say why something was not done, and exit with 1."""
    try:
        yield
    except (Refusal, BadCheckpoint, BadData, FetchError, OSError) as error:
        why = str(error)
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            why += ": free some, or choose another disk with --out and BENTOML_HOME"
        console.print(f"[red]{outcome}[/red]: {escape(why)}", soft_wrap=True)
        raise typer.Exit(1) from error


@app.command()
def model(
    name: str,
    run_dir: Annotated[Path | None, typer.Option(help="Default: runs/NAME.")] = None,
    published: Annotated[
        Path | None, typer.Option(help="Export the model of this folder again, not a run.")
    ] = None,
    task: Annotated[
        str, typer.Option(help="The task that it answers. Default: that of NAME.")
    ] = "",
    whisper: Annotated[str, typer.Option(help="Fetch this Whisper model: tiny.en or base.")] = "",
    target: Annotated[str, typer.Option(help=f"One of {', '.join(TARGETS)}.")] = "cpu",
    precision: Annotated[
        str, typer.Option(help="float32, or if the dev split allows it int8 or bfloat16.")
    ] = "float32",
    data_dir: Annotated[Path, typer.Option(help="Folder with the data sets.")] = Path("data"),
    out: Annotated[Path, typer.Option(help="Folder for the model folder.")] = Path("build"),
    install: Annotated[bool, typer.Option(help="Put the model in the store.")] = True,
) -> None:
    """Export the trained model NAME: trace, lower attention, check parity, publish."""
    if target not in TARGETS:
        raise typer.BadParameter(f"{target!r} is not one of {', '.join(TARGETS)}")
    if task and task.replace("-", "_") not in task_names():
        known = ", ".join(each.replace("_", "-") for each in task_names())
        raise typer.BadParameter(f"{task!r} is not one of {known}")
    if target == "cuda" and precision != "float32":
        raise typer.BadParameter("graphs of target cuda are in float16: leave --precision out")
    if precision not in ("float32", *PRECISIONS):
        raise typer.BadParameter(f"{precision!r} is not one of float32, {', '.join(PRECISIONS)}")
    console = Console()
    with refused(console, "not published"):
        if whisper:
            trained = from_package(whisper)
        elif published is not None:
            trained = from_published(published)
        else:
            trained = from_run(run_dir or Path("runs") / name)
        trained = replace(trained, task=task or trained.task)
        with replacing(out / name) as folder:
            manifest = export_model(trained, name=name, target=target, folder=folder)
            if precision != "float32":
                manifest = change_precision(folder, precision=precision, data_dir=data_dir)
    console.print(report(manifest))
    for group, quality in manifest.quality.items():
        console.print(f"{group}: {quality.reached} in {precision}, {quality.reference} before")
    console.print(f"published {out / name}, version {manifest.version}")
    if install:
        with refused(console, "not in the store"):
            console.print(f"in the store as {store.install(out / name)}")


@app.command("tune")
def tune_command(
    name: str,
    run_dir: Annotated[
        Path | None, typer.Option(help="Default: the model of the store, or the shipped one.")
    ] = None,
    data_dir: Annotated[Path, typer.Option(help="Folder with the data sets.")] = Path("data"),
    threads: Annotated[int, typer.Option(min=1, help="Most cores of one run.")] = (
        os.cpu_count() or 1
    ),
    rounds: Annotated[int, typer.Option(min=5)] = 5,
    out: Annotated[Path, typer.Option(help="Folder for what is tried.")] = Path("build/tune"),
    install: Annotated[bool, typer.Option(help="Put the fastest in the store.")] = True,
) -> None:
    """Find the fastest way to run the model NAME on this machine that loses no quality."""
    console = Console()
    with refused(console, "not tuned"):
        source = store.locate(name) or store.shipped().get(name)
        if run_dir is not None:
            trained = from_run(run_dir)
        elif source is not None:
            trained = from_published(source)
        else:
            raise Refusal(f"no model {name} in the store: make models puts it there")
        folder, manifest = tune(
            trained, name, out / name, data_dir=data_dir, threads=threads, rounds=rounds
        )
        console.print(ways(manifest))
        if install:
            console.print(f"in the store as {store.install(folder)}")


def ways(manifest: Manifest) -> Table:
    """What every way took, the chosen one marked."""
    tuning = manifest.tuning
    assert tuning is not None
    batches = sorted({each.batch for each in tuning.measured})
    table = Table("way", *(f"batch {batch}, ms" for batch in batches))
    for way in dict.fromkeys(each.way for each in tuning.measured):
        times = {each.batch: each for each in tuning.measured if each.way == way}
        cells = [f"{times[batch].median_ms:.1f}" for batch in batches]
        table.add_row(f"{way} [green]chosen[/green]" if way == tuning.way else way, *cells)
    for way, why in tuning.refused.items():
        table.add_row(way, escape(why), *[""] * (len(batches) - 1))
    return table


if __name__ == "__main__":
    app()
