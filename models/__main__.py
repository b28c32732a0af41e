"""`python -m models train|evaluate`: the command line of the training side."""

from pathlib import Path
from typing import Annotated

import torch
import typer

from models.catalogue import recipes
from models.train import train as run_recipe

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


app()
