"""`python -m models train|evaluate|import`: the command line of the training side."""

import asyncio
import json
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console

from export.__main__ import refused, report
from export.imported import import_model
from models import evaluate as evaluation
from models import table
from models.catalogue import recipes
from models.train import train as run_recipe
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
    run_dir: Annotated[Path | None, typer.Option(help="Default: runs/RECIPE.")] = None,
    resume: Annotated[bool, typer.Option(help="Go on from the run's checkpoint.")] = False,
    compiled: Annotated[bool, typer.Option(help="Use torch.compile.")] = False,
    threads: Annotated[int, typer.Option(help="Threads; 0 keeps torch's choice.")] = 0,
) -> None:
    """Train RECIPE and write its checkpoint, metrics and plot."""
    known = recipes()
    if recipe not in known:
        raise typer.BadParameter(f"{recipe!r} is not one of {', '.join(sorted(known))}")
    if threads:
        torch.set_num_threads(threads)
    of, chosen = known[recipe]
    metrics = run_recipe(
        of,
        chosen,
        data_dir=data_dir,
        run_dir=run_dir or Path("runs") / recipe,
        resume=resume,
        compiled=compiled,
    )
    typer.echo("  ".join(f"{name} {value:.4f}" for name, value in metrics.items()))


async def _measured(
    task: Task, data_dir: Path, split: str, run_dir: Path | None, url: str | None
) -> dict[str, float]:
    settings = Settings(timeout_s=evaluation.PATIENT_S)
    if run_dir:
        predict = await evaluation.from_checkpoint(task, settings, run_dir)
    elif url:
        predict = await evaluation.from_service(task, url)
    else:
        predict = await evaluation.from_store(task, settings)
    return await evaluation.measure(predict, task, evaluation.examples(task, data_dir, split))


@app.command()
def evaluate(
    name: Annotated[str | None, typer.Argument(help="A task; none with --all.")] = None,
    data_dir: DataDir = Path("data"),
    split: str = "test",
    run_dir: Annotated[Path | None, typer.Option(help="Measure a training run.")] = None,
    url: Annotated[str | None, typer.Option(help="Measure a running service.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Measure every task.")] = False,
    readme: Annotated[Path | None, typer.Option(help="Rewrite this file's table.")] = None,
) -> None:
    """Measure models of the store (or a run, or a service) and print the figures as JSON."""
    known = [each.replace("_", "-") for each in task_names()]
    if not every and name not in known:
        raise typer.BadParameter(f"{name!r} is not one of {', '.join(known)}")
    if split not in ("dev", "test"):
        raise typer.BadParameter(f"--split {split!r} is not one of dev, test")
    figures = {
        each: asyncio.run(_measured(task_of(each), data_dir, split, run_dir, url))
        for each in (known if every else [str(name)])
    }
    typer.echo(json.dumps(figures, indent=1))
    if readme:
        table.rewrite(readme, figures)


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
