"""`python -m loadtests.serving.bench`: Attendant beside other servers, overloaded, and left."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from loadtests.serving.attendant import STORE, prepared
from loadtests.serving.bench import batching, cancellation, overload, speech
from loadtests.serving.bench.search import Terms
from loadtests.serving.bench.servers import Places
from loadtests.serving.bench.texts import requests
from loadtests.serving.verdict import Row, conclude, keep, table

COMMAND = "bench-serving"


def main(
    part: Annotated[list[str] | None, typer.Option(help="Only these.")] = None,
    data_dir: Annotated[Path, typer.Option(help="Folder with the data sets.")] = Path("data"),
    duration_s: Annotated[float, typer.Option(min=1, help="Least time of one rate.")] = 30.0,
    overload_s: Annotated[float, typer.Option(min=1, help="Time of the overload.")] = 60.0,
    bound_s: Annotated[float, typer.Option(help="Of the 99th percentile.")] = 1.0,
    percentile: Annotated[
        float, typer.Option(help="Another one for a quick look, which proves nothing.")
    ] = 0.99,
    precision: Annotated[float, typer.Option(min=1.01, help="Ratio that ends a search.")] = 1.1,
    beam_size: Annotated[int, typer.Option(min=1, max=8)] = 1,
    texts: Annotated[int, typer.Option(min=10, help="Known translation requests.")] = 300,
    passes: Annotated[int, typer.Option(min=1, help="Over all recordings.")] = 3,
    recordings: Annotated[int | None, typer.Option(help="Only so many.")] = None,
    cancels: Annotated[int, typer.Option(min=1, help="Long requests on each door.")] = 100,
    threads: Annotated[int, typer.Option(min=1, help="For every server.")] = 2,
    seed: Annotated[int, typer.Option()] = 0,
    store: Annotated[Path, typer.Option(help="Model store to copy.")] = STORE,
    environments: Annotated[Path, typer.Option(help="Where the peers are installed.")] = Path(
        "build/peers"
    ),
    works: Annotated[Path, typer.Option(help="Where the peers' weights are kept.")] = Path(
        "build/peers/works"
    ),
    record: Annotated[Path | None, typer.Option(help="Keep each part's table here.")] = None,
) -> None:
    """Measure on servers of our own, one at a time; print what was seen beside what is asked."""
    terms = Terms(bound_s, duration_s, seed, precision, percentile)
    places = Places(prepared(store), environments, works, data_dir, threads)
    asked = requests(data_dir, texts, beam_size=beam_size, seed=seed)
    parts: dict[str, Callable[[], list[Row]]] = {
        "batching": lambda: batching.bench(places, terms, asked),
        "speech": lambda: speech.bench(places, passes=passes, least=recordings, seed=seed),
        "overload": lambda: overload.bench(places, terms, asked, overload_s),
        "cancellation": lambda: cancellation.bench(places, number=cancels),
    }
    if unknown := sorted(set(part or ()) - set(parts)):
        raise typer.BadParameter(f"no {', '.join(unknown)}; there are {', '.join(parts)}")
    rate: dict[str, object] = {"s a rate": duration_s, "percentile": percentile, "beam": beam_size}
    terms_of: dict[str, dict[str, object]] = {
        "batching": rate,
        "speech": {"passes": passes},
        "overload": rate | {"s of overload": overload_s},
        "cancellation": {"cancels": cancels},
    }
    console = Console()
    rows: list[Row] = []
    for name in part or parts:
        with console.status(name):
            found = parts[name]()
        console.print(table(name, found))
        if record:
            kept = {"seed": seed, "threads": threads, **terms_of[name]}
            keep(f"{COMMAND}, {name}", found, kept, record)
        rows += found
    conclude(COMMAND, rows, {}, record=None)


if __name__ == "__main__":
    typer.run(main)
