"""`python -m loadtests.peers`: works and peers → a race, docs/benchmarks.json, page and charts."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from loadtests.peers import chart, record, report
from loadtests.peers.engines import peers as all_peers
from loadtests.peers.machine import machine
from loadtests.peers.peer import JOB, Peer
from loadtests.peers.quality import judge
from loadtests.peers.race import Terms, race
from loadtests.peers.record import WorkRecord
from loadtests.peers.remote import DEVELOP
from loadtests.peers.sizes import shipped_sizes
from loadtests.peers.works import WORKS

ATTENDANT = "loadtests.peers.engines.attendant"


def more_folders(told: list[str], known: list[Peer]) -> list[tuple[str, Peer]]:
    """`WORK:LABEL=FOLDER` → the work, and Attendant with that model folder."""
    found = []
    for text in told:
        place, _, path = text.partition("=")
        work, _, label = place.partition(":")
        if work not in WORKS or not label or not path:
            raise typer.BadParameter(f"{text!r} is not WORK:LABEL=FOLDER")
        kinds = (WORKS[work].kind,)
        variant = str(Path(path).absolute())
        peer = Peer(f"Attendant {label}", variant, kinds, DEVELOP, ATTENDANT)
        if peer.name in {each.name for each in known}:
            raise typer.BadParameter(f"there is an {peer.name} already")
        found.append((work, peer))
    return found


def main(
    work: Annotated[list[str] | None, typer.Option(help="Only this work.")] = None,
    peer: Annotated[list[str] | None, typer.Option(help="Only peers whose name has this.")] = None,
    sizes: Annotated[str, typer.Option(help="Only these batch sizes, as 1,8.")] = "",
    rounds: Annotated[int, typer.Option(min=1)] = 5,
    threads: Annotated[int, typer.Option(min=1, help="For every peer.")] = 2,
    model: Annotated[
        list[str] | None, typer.Option(help="Race this folder too: WORK:LABEL=FOLDER.")
    ] = None,
    environments: Annotated[Path, typer.Option(help="Where the peers are installed.")] = Path(
        "build/peers"
    ),
    works_dir: Annotated[Path, typer.Option(help="Where what is raced is kept.")] = Path(
        "build/peers/works"
    ),
    data_dir: Annotated[Path, typer.Option(help="Folder with the data sets.")] = Path("data"),
    docs: Annotated[Path, typer.Option(help="Where benchmarks.json and the page go.")] = Path(
        "docs"
    ),
    prepare_only: Annotated[bool, typer.Option("--prepare-only")] = False,
    report_only: Annotated[
        bool,
        typer.Option("--report-only", help="Race nothing; write the page."),
    ] = False,
) -> None:
    """Race every engine with the same weights and inputs, and write what was seen."""
    console = Console()
    known = all_peers()
    more = more_folders(model or [], known)
    unknown = sorted(set(work or ()) - set(WORKS))
    if unknown:
        raise typer.BadParameter(f"no work {', '.join(unknown)}; there are {', '.join(WORKS)}")
    file = docs / "benchmarks.json"
    benchmarks = record.read(file)
    for name in [] if report_only else work or list(WORKS):
        chosen = WORKS[name]
        folder = works_dir / name
        console.print(f"{name}: preparing what is raced, unless it is here")
        chosen.ready(folder, data_dir)
        if prepare_only:
            continue
        facts = json.loads((folder / JOB).read_text())
        racing = [each for each in known if chosen.kind in each.kinds]
        racing += [each for of, each in more if of == name]
        wanted = tuple(int(size) for size in sizes.split(",") if size) or chosen.sizes
        terms = Terms(wanted, threads, rounds, environments)
        with console.status(f"racing {name}") as status:

            def say(text: str, name: str = name) -> None:
                status.update(f"{name}: {text}")
                if not text.startswith("size"):
                    console.print(f"  {name}: {text}", markup=False)

            raced = race(
                [each for each in racing if not peer or any(part in each.name for part in peer)],
                folder,
                terms=terms,
                quality=judge(facts["kind"], folder),
                say=say,
            )
        benchmarks.works[name] = WorkRecord(
            about=chosen.about,
            unit=chosen.unit,
            per_batch=chosen.per_batch,
            sizes=list(wanted),
            machine=machine(),
            threads=threads,
            rounds=rounds,
            date=datetime.now(UTC).date().isoformat(),
            peers=raced,
        )
        record.write(benchmarks, file)
        console.print(report.table(name, benchmarks.works[name]))
    if not prepare_only:
        benchmarks.sizes.update(shipped_sizes())
        record.write(benchmarks, file)
        (docs / "benchmarks.md").write_text(report.page(benchmarks))
        chart.draw(benchmarks, docs / "benchmarks")
        console.print(f"written: {file}, {docs / 'benchmarks.md'} and the charts beside it")


if __name__ == "__main__":
    typer.run(main)
