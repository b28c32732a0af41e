"""`python -m models train|evaluate|import`: the command line of the training side."""

import asyncio
import json
from dataclasses import replace
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import torch
import typer
from rich.console import Console

from export.__main__ import refused, report
from export.agreement import words as words_of
from export.imported import import_model, name_of
from export.published import from_published
from models import comparison, fine_tuning, fresh, own, recording, studies, systems, table
from models import evaluate as evaluation
from models.catalogue import recipes
from models.checkpoint import BadCheckpoint
from models.datasets import librispeech
from models.origin import locate
from models.train import train as run_recipe
from service import manifest as manifests
from service import store
from service.settings import Settings
from service.tasks import Task, task_names
from service.tasks import task as task_of

app = typer.Typer(no_args_is_help=True, add_completion=False)

DataDir = Annotated[Path, typer.Option(help="Folder with the data sets.")]


@app.callback()
def main() -> None:
    """Train and evaluate attention models."""


@app.command()
def train(
    recipe: str,
    data_dir: DataDir = Path("data"),
    base: Annotated[
        str | None,
        typer.Option("--from", help="Go on from this model: a name in the store, or a folder."),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(help="Your own: a TSV, a folder of pictures, a CSV of recordings."),
    ] = None,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Of --data; default: by the data.")
    ] = None,
    learning_rate: Annotated[
        float | None, typer.Option(min=0, help="Of --data; default: by the task.")
    ] = None,
    run_dir: Annotated[Path | None, typer.Option(help="Default: runs/RECIPE.")] = None,
    resume: Annotated[bool, typer.Option(help="Go on from the run's checkpoint.")] = False,
    compiled: Annotated[bool, typer.Option(help="Use torch.compile.")] = False,
    threads: Annotated[int, typer.Option(help="Threads; 0 keeps torch's choice.")] = 0,
) -> None:
    """Train RECIPE and write its checkpoint, metrics and plot.

    With --data, RECIPE is a task, and a model of it learns from data of your own: the one that
    --from names, or a new one of our architecture.
    """
    if threads:
        torch.set_num_threads(threads)
    run_dir = run_dir or Path("runs") / recipe
    if base is not None or data is not None:
        metrics = _on_own_data(recipe, base, data, run_dir, steps, learning_rate, resume)
    else:
        known = recipes()
        if recipe not in known:
            raise typer.BadParameter(f"{recipe!r} is not one of {', '.join(sorted(known))}")
        of, chosen = known[recipe]
        metrics = run_recipe(
            of, chosen, data_dir=data_dir, run_dir=run_dir, resume=resume, compiled=compiled
        )
    typer.echo("  ".join(f"{name} {value:.4f}" for name, value in metrics.items()))


def _on_own_data(
    task: str,
    base: str | None,
    data: Path | None,
    run_dir: Path,
    steps: int | None,
    learning_rate: float | None,
    resume: bool,
) -> dict[str, float]:
    if task not in fine_tuning.RECIPES:
        known = ", ".join(fine_tuning.RECIPES)
        raise typer.BadParameter(f"{task!r} is not one of {known}, as --data needs")
    if data is None:
        raise typer.BadParameter("--from needs --data to learn from")
    if base is None and task not in fresh.TASKS:
        raise typer.BadParameter(f"{task} is not learnt from nothing: name a model with --from")
    console = Console()
    recipe = fresh.recipe(task) if base is None else fine_tuning.RECIPES[task]
    if learning_rate is not None:
        recipe = replace(recipe, learning_rate=learning_rate)
    with refused(console, "not trained"), TemporaryDirectory() as made:
        start = (
            fresh.fresh(task_of(task), data, Path(made), seed=recipe.seed)
            if base is None
            else _start(base, task)
        )
        metrics = fine_tuning.fine_tune(
            start, recipe, data, run_dir, console=console, steps=steps, resume=resume
        )
    console.print(f"publish it: python -m export model {task} --run-dir {run_dir}")
    return metrics


def _start(name: str, task: str) -> fine_tuning.Start:
    """A model of the store, or of a folder; raises `BadCheckpoint`."""
    path = Path(name)
    folder = path if (path / manifests.NAME).exists() else store.locate(name)
    if folder is None:
        raise BadCheckpoint(f"{name} is no model in the store and no folder with one")
    manifest, trained = manifests.read(folder), from_published(folder)
    if manifest.answers != task:
        raise BadCheckpoint(f"{name} is a model for {manifest.answers}, not for {task}")
    return fine_tuning.published(manifest, trained.architecture, trained.model, trained.assets)


async def _measured(
    task: Task,
    data_dir: Path,
    dataset: str,
    split: str,
    run_dir: Path | None,
    url: str | None,
    model: str,
    data: Path | None,
) -> dict[str, float]:
    settings = Settings(timeout_s=evaluation.PATIENT_S)
    if run_dir:
        predict = await evaluation.from_checkpoint(task, settings, run_dir)
    elif url:
        predict = await evaluation.from_service(task, url, model)
    else:
        predict = await evaluation.from_store(task, settings, model)
    if data is None:
        asked = evaluation.examples(task, data_dir, split, dataset)
    else:
        folder = run_dir / "assets" if run_dir else store.locate(model or task.name)
        if folder is None:
            raise store.BrokenModel(f"{model or task.name}: no such model in the store")
        asked = own.examples(data, task, split, folder)
    return await evaluation.measure(predict, task, asked)


@app.command()
def evaluate(
    name: Annotated[str | None, typer.Argument(help="A task; none with --all.")] = None,
    data_dir: DataDir = Path("data"),
    dataset: Annotated[str, typer.Option(help="Default: the first of the task.")] = "",
    data: Annotated[Path | None, typer.Option(help="Measure on data of your own.")] = None,
    split: str = "test",
    run_dir: Annotated[Path | None, typer.Option(help="Measure a training run.")] = None,
    url: Annotated[str | None, typer.Option(help="Measure a running service.")] = None,
    model: Annotated[str, typer.Option(help="Of the store or service; default: the task's.")] = "",
    every: Annotated[bool, typer.Option("--all", help="Measure every task.")] = False,
    readme: Annotated[Path | None, typer.Option(help="Rewrite this file's table.")] = None,
) -> None:
    """Measure models of the store (or a run, or a service) and print the figures as JSON."""
    known = [each.replace("_", "-") for each in task_names()]
    if not every and name not in known:
        raise typer.BadParameter(f"{name!r} is not one of {', '.join(known)}")
    if split not in ("dev", "test"):
        raise typer.BadParameter(f"--split {split!r} is not one of dev, test")
    if dataset and (every or dataset not in evaluation.MEASURES[str(name)].datasets):
        of = "all tasks" if every else str(name)
        raise typer.BadParameter(f"--dataset {dataset!r} is none of {of}")
    figures = {}
    for each in known if every else [str(name)]:
        measured = _measured(task_of(each), data_dir, dataset, split, run_dir, url, model, data)
        try:
            figures[each] = asyncio.run(measured)
        except FileNotFoundError as missing:
            if not every:
                raise
            typer.echo(f"{each} is left out: there is no {missing.filename}", err=True)
    typer.echo(json.dumps(figures, indent=1))
    if readme:
        table.rewrite(readme, figures)


@app.command()
def record(
    name: Annotated[str, typer.Argument(help="A model of the store.")],
    data_dir: Annotated[
        Path | None, typer.Option(help="Folder with the data sets; measures the quality too.")
    ] = None,
    data: Annotated[Path | None, typer.Option(help="Measure it on data of your own.")] = None,
    split: str = "test",
    out: Annotated[Path, typer.Option(help="Folder of the records.")] = systems.FOLDER,
) -> None:
    """Write down size, training and quality of a model, for docs/comparison.md."""
    folder = store.locate(name)
    if folder is None:
        raise typer.BadParameter(f"there is no model {name} in the store: make models")
    with refused(Console(), "not recorded"):
        trained = from_published(folder)
        found = recording.sized(folder, trained.architecture, trained.model)
        if data_dir or data:
            figures = recording.measured(folder, data_dir=data_dir, split=split, data=data)
            found = found.model_copy(update={"quality": asyncio.run(figures)})
    typer.echo(systems.write(found, out))


@app.command()
def compare(
    records: Annotated[Path, typer.Option(help="Folder of the records.")] = systems.FOLDER,
    out: Annotated[Path, typer.Option(help="The page to write.")] = comparison.PAGE,
) -> None:
    """Write the page that has all recorded systems of a task side by side."""
    comparison.write(systems.every(records), out)
    typer.echo(out)


@app.command()
def words(
    source: str,
    published: Annotated[
        Path | None, typer.Option(help="What import made of it; default: build/NAME.")
    ] = None,
    data_dir: DataDir = Path("data"),
    recordings: Annotated[int | None, typer.Option(help="Only the first; default: all.")] = None,
) -> None:
    """Hold an imported Whisper's words against those of the library that SOURCE is from."""
    console = Console()
    with refused(console, "not the same words"):
        examples = islice(librispeech.examples(data_dir, "test"), recordings)
        folder = published or Path("build") / name_of(source)
        heard = list(words_of.listen(locate(source).folder.path, folder, examples))
        for line in words_of.report(heard):
            console.print(line, markup=False)
        words_of.check(heard)


@app.command()
def study(
    name: str,
    data_dir: DataDir = Path("data"),
    runs: Annotated[Path, typer.Option(help="Folder for the runs.")] = Path("runs"),
    docs: Annotated[Path, typer.Option(help="Folder with the page.")] = Path("docs/systems"),
    threads: Annotated[int, typer.Option(help="Threads; 0 keeps torch's choice.")] = 0,
) -> None:
    """Train all that the study NAME compares and write its figures into its page."""
    if name not in studies.names():
        raise typer.BadParameter(f"{name!r} is not one of {', '.join(studies.names())}")
    if threads:
        torch.set_num_threads(threads)
    studies.write(name, data_dir=data_dir, runs=runs, docs=docs)


@app.command("import")
def import_command(
    source: str,
    name: Annotated[str | None, typer.Option(help="Default: the last part of SOURCE.")] = None,
    revision: Annotated[str | None, typer.Option(help="Of the hub: branch, tag, commit.")] = None,
    option: Annotated[
        list[str] | None, typer.Option(help="KEY=VALUE that the checkpoint does not say.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for the model folder.")] = Path("build"),
    install: Annotated[bool, typer.Option(help="Put the model in the store.")] = True,
) -> None:
    """Make SOURCE, a Hugging Face folder or hub id, a model that the service can serve."""
    console = Console()
    pairs = [each.partition("=") for each in option or ()]
    with refused(console, "not imported"):
        options = {key: value for key, _, value in pairs}
        manifest = import_model(source, name=name, revision=revision, options=options, out=out)
    console.print(report(manifest))
    console.print(f"published {out / manifest.name}, version {manifest.version}")
    if install:
        with refused(console, "not in the store"):
            console.print(f"in the store as {store.install(out / manifest.name)}")


if __name__ == "__main__":
    app()
