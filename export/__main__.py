"""`python -m export NAME`: trained run → model folder in the store, and a table of the checks."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from export.model import export_model
from export.parity import ParityError
from export.source import from_package, from_run
from export.targets import TARGETS
from service import store
from service.manifest import Manifest

app = typer.Typer(add_completion=False)


def report(manifest: Manifest) -> Table:
    table = Table("graph", "attention ops", "cases", "largest difference")
    for name, parity in manifest.parity.graphs.items():
        ops = ", ".join(f"{count} {op}" for op, count in parity.attention_ops.items())
        table.add_row(name, ops, str(parity.cases), f"{parity.largest_difference:.2g}")
    return table


@app.command()
def main(
    name: str,
    run_dir: Annotated[Path | None, typer.Option(help="Default: runs/NAME.")] = None,
    whisper: Annotated[str, typer.Option(help="Fetch this Whisper model: tiny.en or base.")] = "",
    target: Annotated[str, typer.Option(help=f"One of {', '.join(TARGETS)}.")] = "cpu",
    out: Annotated[Path, typer.Option(help="Folder for the model folder.")] = Path("build"),
    install: Annotated[bool, typer.Option(help="Put the model in the store.")] = True,
) -> None:
    """Export the trained run NAME: trace, lower attention, check parity, publish."""
    if target not in TARGETS:
        raise typer.BadParameter(f"{target!r} is not one of {', '.join(TARGETS)}")
    trained = from_package(whisper) if whisper else from_run(run_dir or Path("runs") / name)
    console = Console()
    try:
        manifest = export_model(trained, name=name, target=target, folder=out / name)
    except ParityError as error:
        console.print(f"[red]not published[/red]: {error}")
        raise typer.Exit(1) from error
    console.print(report(manifest))
    console.print(f"published {out / name}, version {manifest.version}")
    if install:
        console.print(f"in the store as {store.install(out / name)}")


app()
