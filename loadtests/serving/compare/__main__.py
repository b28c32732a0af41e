"""`python -m loadtests.serving.compare`: Attendant and other servers, each alone, with one load."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from loadtests.clock import Clock
from loadtests.peers.machine import machine
from loadtests.serving.attendant import STORE, prepared
from loadtests.serving.bench.servers import Missing, Places
from loadtests.serving.compare import chart, page, record
from loadtests.serving.compare.adapters import Payload
from loadtests.serving.compare.measure import Silent, Unanswered, measured
from loadtests.serving.compare.payloads import SPEECH, TRANSLATION, payloads
from loadtests.serving.compare.peers import PEERS, Peer, on, versions
from loadtests.serving.compare.record import Compared, TaskRecord, Terms
from loadtests.serving.processes import NotStarted
from loadtests.verdict import budgets

BOUND_MS = 1_000.0
"""Of a task without a budget."""
TASKS = ("image-classification", "audio-classification", TRANSLATION, SPEECH)
MOST_REQUESTS = {SPEECH: 10}
"""Each is asked alone first, and a recording takes a second."""
LONGER = {SPEECH: 2.5}
"""How much more time a server has for a task whose requests take long."""


@dataclass(frozen=True)
class Thorough:
    """How closely a run looks."""

    minutes: float
    requests: int
    warm_s: float
    closed_s: float
    duration_s: float
    precision: float
    percentiles: dict[str, float]
    """Of the tasks; the higher it is, the more requests each rate needs (`validity.py`)."""


WHOLE = Thorough(
    minutes=14.5,
    requests=30,
    warm_s=5,  # BentoML learns how long its batches take, anew every 5 s
    closed_s=4,
    duration_s=3,
    precision=1.1,
    percentiles={TRANSLATION: 0.95, SPEECH: 0.9},
)
SHORT = Thorough(
    minutes=4,
    requests=10,
    warm_s=1,
    closed_s=1,
    duration_s=1,
    precision=1.5,
    percentiles=dict.fromkeys(TASKS, 0.9),
)
P99 = 0.99


def compare(
    peer: Peer,
    places: Places,
    task: str,
    known: Sequence[Payload],
    terms: Terms,
    reference: Sequence[str] | None,
    *,
    share_s: float,
) -> tuple[Compared, list[str] | None]:
    """One server from start to end; what is missing or broken is told, not raised.

    `share_s`: its time, after which no rate is tried.
    """
    ends_s = time.monotonic() + share_s
    try:
        found = dict(versions(peer, places))
        with peer.start(places, task) as server:
            figures, texts = asyncio.run(
                measured(
                    server.url,
                    peer.adapter,
                    known,
                    terms,
                    reference=reference,
                    exact=task != SPEECH,
                    ends_s=ends_s,
                )
            )
    except Missing as error:
        return Compared(status="skipped", reason=str(error)), None
    except Silent:
        return Compared(status="skipped", reason="all its answers are empty"), None
    except (NotStarted, Unanswered) as error:
        return Compared(status="failed", reason=str(error)), None
    return Compared(status="measured", about=peer.about, versions=found, figures=figures), texts


def compare_all(
    peers: Sequence[Peer],
    places: Places,
    task: str,
    known: Sequence[Payload],
    terms: Terms,
    clock: Clock,
    tell: Callable[[str], None],
) -> TaskRecord:
    """All servers of a task, one after another; the first one's answers are the reference."""
    reference: list[str] | None = None
    found: dict[str, Compared] = {}
    for peer in peers:
        share_s = clock.share_s()
        tell(f"{task}: {peer.name}: about {share_s:.0f} s")
        found[peer.name], texts = compare(
            peer, places, task, known, terms, reference, share_s=share_s
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
    minutes: Annotated[
        float | None,
        typer.Option(min=0.1, help="For all of it, but for what starts slowly. [default: 14.5; 4]"),
    ] = None,
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
    thorough, began_s = SHORT if short else WHOLE, time.monotonic()
    wanted = [name for name in TASKS if not task or name in task]
    # One that is known to be missing, and has no packages, needs no time.
    weights = [
        LONGER.get(name, 1.0) if each.packages else 0.0
        for name in wanted
        for each in on(name, peer)
    ]
    clock = Clock(60 * (minutes or thorough.minutes), weights)

    def tell(line: str) -> None:
        console.print(f"{time.monotonic() - began_s:4.0f} s  {line}", highlight=False)

    for name in wanted:
        most = min(thorough.requests, MOST_REQUESTS.get(name, thorough.requests))
        known = payloads(name, data_dir, most, seed=seed)
        terms = Terms(
            requests=len(known),
            callers=callers,
            warm_s=thorough.warm_s,
            closed_s=thorough.closed_s * LONGER.get(name, 1.0),
            bound_ms=budgets.read().of(name).bound_ms or BOUND_MS,
            percentile=thorough.percentiles.get(name, P99),
            duration_s=thorough.duration_s,
            precision=thorough.precision,
            threads=threads,
            seed=seed,
        )
        found = compare_all(on(name, peer), places, name, known, terms, clock, tell)
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
