"""`python -m export NAME`: trained run → model folder in the store, and a table of the checks."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from export.model import export_model
from export.precision import PRECISIONS, change_precision
from export.publish import replacing
from export.refusal import Refusal
from export.source import from_package, from_run
from export.targets import TARGETS
from models.checkpoint import BadCheckpoint
from service import store
from service.manifest import Manifest
from service.setup import FetchError

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
    except (Refusal, BadCheckpoint, FetchError, OSError) as error:
        why = str(error)
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            why += ": free some, or choose another disk with --out and BENTOML_HOME"
        console.print(f"[red]{outcome}[/red]: {escape(why)}", soft_wrap=True)
        raise typer.Exit(1) from error


@app.command()
def main(
    name: str,
    run_dir: Annotated[Path | None, typer.Option(help="Default: runs/NAME.")] = None,
    whisper: Annotated[str, typer.Option(help="Fetch this Whisper model: tiny.en or base.")] = "",
    target: Annotated[str, typer.Option(help=f"One of {', '.join(TARGETS)}.")] = "cpu",
    precision: Annotated[
        str, typer.Option(help="float32, or if the dev split allows it int8 or bfloat16.")
    ] = "float32",
    data_dir: Annotated[Path, typer.Option(help="Folder with the data sets.")] = Path("data"),
    out: Annotated[Path, typer.Option(help="Folder for the model folder.")] = Path("build"),
    install: Annotated[bool, typer.Option(help="Put the model in the store.")] = True,
) -> None:
    """Export the trained run NAME: trace, lower attention, check parity, publish."""
    if target not in TARGETS:
        raise typer.BadParameter(f"{target!r} is not one of {', '.join(TARGETS)}")
    if target == "cuda" and precision != "float32":
        raise typer.BadParameter("graphs of target cuda are in float16: leave --precision out")
    if precision not in ("float32", *PRECISIONS):
        raise typer.BadParameter(f"{precision!r} is not one of float32, {', '.join(PRECISIONS)}")
    console = Console()
    with refused(console, "not published"):
        trained = from_package(whisper) if whisper else from_run(run_dir or Path("runs") / name)
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


if __name__ == "__main__":
    app()
