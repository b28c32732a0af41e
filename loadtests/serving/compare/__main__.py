"""`python -m loadtests.serving.compare`: Attendant and other servers, each alone, with one load."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from loadtests.peers.machine import machine
from loadtests.serving.attendant import STORE, prepared
from loadtests.serving.bench.servers import Missing, Places
from loadtests.serving.compare import chart, page, record
from loadtests.serving.compare.adapters import Payload
from loadtests.serving.compare.measure import WARM_S, Unanswered, measured
from loadtests.serving.compare.payloads import SPEECH, payloads
from loadtests.serving.compare.peers import PEERS, Peer, on, versions
from loadtests.serving.compare.record import Compared, TaskRecord, Terms
from loadtests.serving.processes import NotStarted
from loadtests.verdict import budgets

BOUND_MS = 1_000.0
"""Of a task without a budget."""
TASKS = ("image-classification", "audio-classification", "translation", SPEECH)


def compare(
    peer: Peer,
    places: Places,
    task: str,
    known: Sequence[Payload],
    terms: Terms,
    reference: Sequence[str] | None,
    *,
    warm_s: float = WARM_S,
) -> tuple[Compared, list[str] | None]:
    """One server from start to end; what is missing or broken is told, not raised."""
    try:
        found = dict(versions(peer, places))
        with peer.start(places, task) as server:
            figures, texts = asyncio.run(
                measured(
                    server.url,
                    peer.adapter,
                    known,
                    terms,
                    warm_s=warm_s,
                    reference=reference,
                    exact=task != SPEECH,
                )
            )
    except Missing as error:
        return Compared(status="skipped", reason=str(error)), None
    except (NotStarted, Unanswered) as error:
        return Compared(status="failed", reason=str(error)), None
    return Compared(status="measured", about=peer.about, versions=found, figures=figures), texts


def compare_all(
    peers: Sequence[Peer],
    places: Places,
    task: str,
    known: Sequence[Payload],
    terms: Terms,
    tell: Callable[[str], None],
    *,
    warm_s: float = WARM_S,
) -> TaskRecord:
    """All servers of a task, one after another; the first one's answers are the reference."""
    reference: list[str] | None = None
    found: dict[str, Compared] = {}
    for peer in peers:
        tell(f"{task}: {peer.name}")
        found[peer.name], texts = compare(
            peer, places, task, known, terms, reference, warm_s=warm_s
        )
        reference = reference or texts
    date = datetime.now(UTC).date().isoformat()
    return TaskRecord(date=date, machine=machine(), terms=terms, peers=found)


app = typer.Typer()


@app.command()
def main(
    short: Annotated[
        bool, typer.Option("--short", help="A quick look: p90, coarse; proves little.")
    ] = False,
    task: Annotated[list[str] | None, typer.Option(help="Only these.")] = None,
    peer: Annotated[list[str] | None, typer.Option(help="Only these beside Attendant.")] = None,
    data_dir: Annotated[Path, typer.Option(help="Folder with the data sets.")] = Path("data"),
    duration_s: Annotated[float, typer.Option(min=1, help="Least time of one rate.")] = 30.0,
    requests: Annotated[int, typer.Option(min=1, help="Known requests of each task.")] = 100,
    callers: Annotated[int, typer.Option(min=1, help="Of the closed loop.")] = 16,
    threads: Annotated[int, typer.Option(min=1, help="For every server.")] = 2,
    seed: Annotated[int, typer.Option()] = 0,
    store: Annotated[Path, typer.Option(help="Model store to copy.")] = STORE,
    environments: Annotated[Path, typer.Option(help="Where the peers are installed.")] = Path(
        "build/peers"
    ),
    works: Annotated[Path, typer.Option(help="Where the peers' weights are kept.")] = Path(
        "build/peers/works"
    ),
    out: Annotated[
        Path | None, typer.Option(help="Folder of peers.json, .md and .png. [default: docs]")
    ] = None,
) -> None:
    """Measure every server on every task, alone and one after another; write what was seen."""
    if unknown := sorted(set(task or ()) - set(TASKS)):
        raise typer.BadParameter(f"no {', '.join(unknown)}; there are {', '.join(TASKS)}")
    names = [each.name for each in PEERS]
    if unknown := sorted(set(peer or ()) - set(names)):
        raise typer.BadParameter(f"no {', '.join(unknown)}; there are {', '.join(names)}")
    folder = out or Path("build/peers/short" if short else "docs")
    places = Places(prepared(store), environments, works, data_dir, threads)
    console = Console(width=None if Console().is_terminal else 160)
    comparison = record.read(folder / "peers.json")
    for name in task or TASKS:
        known = payloads(name, data_dir, min(requests, 10) if short else requests, seed=seed)
        terms = Terms(
            requests=len(known),
            callers=callers,
            closed_s=3.0 if short else 10.0,
            bound_ms=budgets.read().of(name).p99_ms or BOUND_MS,
            percentile=0.9 if short else 0.99,
            duration_s=min(duration_s, 3.0) if short else duration_s,
            precision=1.5 if short else 1.08,
            threads=threads,
            seed=seed,
        )
        with console.status(name) as status:
            found = compare_all(on(name, peer), places, name, known, terms, status.update)
        console.print(page.table(name, found))
        comparison.tasks[name] = found
        # After each task, so that an interrupted run keeps those it has finished.
        record.write(comparison, folder / "peers.json")
        (folder / "peers.md").write_text(page.page(comparison))
        chart.draw(comparison, folder / "peers.png")
    failed = [
        f"{name}: {each}: {of.reason}"
        for name, done in comparison.tasks.items()
        for each, of in done.peers.items()
        if of.status == "failed"
    ]
    for line in failed:
        console.print(line, style="red")
    raise typer.Exit(int(bool(failed)))


if __name__ == "__main__":
    app()
