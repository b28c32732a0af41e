"""`python -m loadtests`: run a scenario, search the highest rate, record a trace, or generate."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from loadtests.budgets import DEFAULT_P99_MS, P99_MS
from loadtests.lab import goldens as golden_answers
from loadtests.lab import runner, scenarios, trace
from loadtests.lab.payloads import NoPayload
from loadtests.lab.run import NothingToMeasure, Prepared, Target, Way, measure, prepare
from loadtests.lab.search import Sought, names, searched
from loadtests.lab.server import Unreachable
from loadtests.lab.show import progress, show, show_search
from loadtests.results import write
from loadtests.serving.attendant import STORE, attendant, prepared

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)
REFUSED = 2
"""Exit code where nothing could be measured; 1 where what was measured is invalid."""

Against = Annotated[
    str | None, typer.Option(help="HTTP address of a running server; else one is started.")
]
GrpcAt = Annotated[
    str | None, typer.Option("--grpc", help="Its gRPC address; else port 50051 of the same host.")
]
Doors = Annotated[list[str] | None, typer.Option("--door", help="Only this door; again for more.")]
Mix = Annotated[
    list[str] | None, typer.Option("--task", help="Only this task, TASK or TASK=WEIGHT.")
]
Source = Annotated[
    str, typer.Option("--payloads", help="`examples`, a folder of files, or a trace (.jsonl).")
]
Goldens = Annotated[
    Path | None, typer.Option(help="File of right answers; else the first answer, got alone.")
]
Seed = Annotated[int, typer.Option(help="The same seed sends the same requests.")]
Generators = Annotated[int, typer.Option(min=1, help="Processes that generate the load.")]
Out = Annotated[Path | None, typer.Option(help="Write what was measured here, as JSON.")]


def weights(pairs: Sequence[str], default: float) -> dict[str, float]:
    """`name=number` → number by name."""
    found = {}
    for pair in pairs:
        name, _, number = pair.partition("=")
        try:
            found[name] = float(number) if number else default
        except ValueError:
            raise typer.BadParameter(f"{pair!r} is not NAME=NUMBER") from None
        if found[name] <= 0:
            raise typer.BadParameter(f"{pair!r}: the number must be more than 0")
    return found


@contextmanager
def ready(against: str | None, grpc: str | None, **about: object) -> Iterator[Prepared]:
    """A server to measure, and the calls that it answers; ends with code 2 where there is none."""
    console = Console(stderr=True)
    try:
        if against is None:
            console.print("starting a server with the shipped models")
            with attendant(prepared(STORE)) as own:
                yield prepare(Target(own.url, own.grpc, **about))  # type: ignore[arg-type]
            return
        url = against if "//" in against else f"http://{against}"
        at = grpc or f"{url.partition('//')[2].partition('/')[0].rpartition(':')[0]}:50051"
        yield prepare(Target(url.rstrip("/"), at, **about))  # type: ignore[arg-type]
    except (Unreachable, NothingToMeasure, NoPayload, ValueError, KeyError, TimeoutError) as error:
        console.print(f"error: {error}", style="bold red", markup=False)
        raise typer.Exit(REFUSED) from error


def about(
    door: list[str] | None, task: list[str] | None, source: str, golden: Path | None, seed: int
) -> dict[str, object]:
    doors = {"doors": tuple(door)} if door else {}
    mix = weights(task or [], 1.0)
    return {**doors, "mix": mix, "payloads": source, "goldens": golden, "seed": seed}


@app.command()
def run(
    against: Against = None,
    grpc: GrpcAt = None,
    scenario: Annotated[str, typer.Option(help=", ".join(scenarios.names()))] = "server",
    rate: Annotated[float, typer.Option(min=0.01, help="Requests per second, all together.")] = 10,
    users: Annotated[int, typer.Option(min=1, help="Callers that wait for answers.")] = 8,
    samples: Annotated[int, typer.Option(min=1, help="Of multi-stream at once; of offline.")] = 8,
    duration: Annotated[float, typer.Option(min=0.1, help="Seconds.")] = 60,
    percentile: Annotated[
        float | None, typer.Option(min=0.5, max=0.9999, help="To claim; else the scenario's own.")
    ] = None,
    door: Doors = None,
    task: Mix = None,
    payloads: Source = "examples",
    goldens: Goldens = None,
    seed: Seed = 0,
    generators: Generators = 1,
    listen: Annotated[
        str, typer.Option(help="HOST:PORT at which generators of other machines are waited for.")
    ] = "",
    out: Out = None,
) -> None:
    """Put one scenario's load on a server; exits with 1 where the figures are invalid."""
    if scenario not in scenarios.names():
        raise typer.BadParameter(f"{scenario!r} is none of {', '.join(scenarios.names())}")
    console = Console(width=None if Console().is_terminal else 140)
    way = Way(scenario, duration, rate, users, samples, generators, listen, percentile)
    with ready(against, grpc, **about(door, task, payloads, goldens, seed)) as server:
        measured = measure(server, way, progress(console, duration))
    show(measured, console)
    if out:
        write(measured, out)
    raise typer.Exit(int(not measured.valid))


@app.command()
def search(
    against: Against = None,
    grpc: GrpcAt = None,
    bound: Annotated[
        list[str] | None, typer.Option(help="TASK=MILLISECONDS; else the task's budget.")
    ] = None,
    minutes: Annotated[float, typer.Option(min=0.1, help="For all searches together.")] = 18,
    precision: Annotated[float, typer.Option(min=1.01, max=2)] = 1.1,
    door: Doors = None,
    task: Mix = None,
    payloads: Source = "examples",
    goldens: Goldens = None,
    seed: Seed = 0,
    generators: Generators = 1,
    out: Out = None,
) -> None:
    """Find the highest rate that keeps the bound, for each task and for the mix."""
    console = Console(width=None if Console().is_terminal else 140)
    with ready(against, grpc, **about(door, task, payloads, goldens, seed)) as server:
        bounds = {call.task: P99_MS.get(call.task, DEFAULT_P99_MS) for call in server.calls}
        bounds |= weights(bound or [], 1.0)
        share_s = 60 * minutes / len(names(server))
        sought = Sought(bounds, share_s, precision=precision, generators=generators)
        told: Callable[[str], None] = lambda line: console.print(line, highlight=False)  # noqa: E731
        found = searched(server, sought, told)
    show_search(found, console)
    if out:
        write(found, out)
    raise typer.Exit(int(bool(found.void) or not all(each.best_per_s for each in found.found)))


@app.command()
def goldens(
    out: Annotated[Path, typer.Argument(help="File to write.")],
    against: Against = None,
    grpc: GrpcAt = None,
    door: Doors = None,
    task: Mix = None,
    payloads: Source = "examples",
) -> None:
    """Write the answers that a server gives to each request alone, to hold later runs against."""
    with ready(against, grpc, **about(door, task, payloads, None, 0)) as server:
        golden_answers.write(server.calls, out)
    print(f"{len(server.calls)} answers in {out}")


@app.command()
def record(
    against: Annotated[str, typer.Option(help="HTTP address of the server behind it.")],
    out: Annotated[Path, typer.Option(help="Trace to write, JSONL. It holds what users sent.")],
    port: Annotated[int, typer.Option(help="Listen here, on 127.0.0.1.")] = 3001,
) -> None:
    """Pass requests on to a server and write those of tasks down, until Ctrl-C."""
    count = trace.record(against.rstrip("/"), port, out)
    print(json.dumps({"requests": count, "trace": str(out)}))


@app.command()
def generate(
    master: Annotated[str, typer.Argument(help="HOST:PORT of a run with --listen.")],
) -> None:
    """Be one generator of a run that another process leads."""
    runner.generate(master)


if __name__ == "__main__":
    app()
