"""`python -m loadtests`: run a scenario, search the highest rate, record, generate, prove."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError
from rich.console import Console

from loadtests.conclusion import conclude
from loadtests.lab import goldens as golden_answers
from loadtests.lab import proof, runner, scenarios, trace
from loadtests.lab.payloads import NoPayload
from loadtests.lab.run import NothingToMeasure, Prepared, Target, Way, measure, prepare
from loadtests.lab.search import Sought, searched
from loadtests.lab.server import Unreachable
from loadtests.lab.show import progress, show, show_search
from loadtests.page.browser import BrowserError, photographed
from loadtests.peers.machine import machine
from loadtests.results import Comparison, Result, read, write
from loadtests.serving.attendant import STORE, attendant, prepared
from loadtests.verdict import baseline as baselines
from loadtests.verdict import budgets, derive
from loadtests.verdict.ab import compared, fewest
from loadtests.verdict.baseline import Baseline, BaselineError
from loadtests.verdict.budgets import BudgetError, Budgets

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)
app.add_typer(proof.app, name="prove", help="Hold the generator against what is known.")
BOUND_MS = 1_000.0
"""Of a search, for a task whose file of budgets has none."""
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
Report = Annotated[
    Path | None, typer.Option(help="Judge by the budgets, and make the report in this folder.")
]
BudgetFile = Annotated[Path, typer.Option("--budgets", help="What has to be kept, as TOML.")]
Older = Annotated[
    Path | None, typer.Option("--baseline", help="Older results, as `baseline` saves them.")
]


def budgets_of(path: Path) -> Budgets:
    """Read before anything is measured, so that a typo costs no time."""
    try:
        return budgets.read(path)
    except BudgetError as error:
        raise typer.BadParameter(str(error)) from error


def older_of(path: Path | None) -> Baseline | None:
    """The baseline asked for, or this machine's own where there is one."""
    own = baselines.FOLDER / baselines.name_of(machine())
    try:
        return baselines.read(path or own) if path or own.exists() else None
    except BaselineError as error:
        raise typer.BadParameter(str(error)) from error


def results_of(files: Sequence[Path]) -> list[Result]:
    try:
        return [read(file) for file in files]
    except (OSError, ValidationError) as error:
        raise typer.BadParameter(f"not what a run or search has written: {error}") from error


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
    report: Report = None,
    budget_file: BudgetFile = budgets.FILE,
    baseline: Older = None,
) -> None:
    """Put one scenario's load on a server; exits with 1 where the figures are invalid."""
    wanted, older = budgets_of(budget_file), older_of(baseline)
    if scenario not in scenarios.names():
        raise typer.BadParameter(f"{scenario!r} is none of {', '.join(scenarios.names())}")
    console = Console(width=None if Console().is_terminal else 140)
    way = Way(scenario, duration, rate, users, samples, generators, listen, percentile)
    with ready(against, grpc, **about(door, task, payloads, goldens, seed)) as server:
        measured = measure(server, way, progress(console, duration))
    show(measured, console)
    if out:
        write(measured, out)
    if report:
        code = conclude([measured], report, budgets=wanted, older=older, console=console)
        raise typer.Exit(code)
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
    report: Report = None,
    budget_file: BudgetFile = budgets.FILE,
    baseline: Older = None,
) -> None:
    """Find the highest rate that keeps the bound, for each task and for the mix."""
    wanted, older = budgets_of(budget_file), older_of(baseline)
    console = Console(width=None if Console().is_terminal else 140)
    with ready(against, grpc, **about(door, task, payloads, goldens, seed)) as server:
        bounds = {call.task: wanted.of(call.task).bound_ms or BOUND_MS for call in server.calls}
        bounds |= weights(bound or [], 1.0)
        sought = Sought(bounds, 60 * minutes, precision=precision, generators=generators)
        told: Callable[[str], None] = lambda line: console.print(line, highlight=False)  # noqa: E731
        found = searched(server, sought, told)
    show_search(found, console)
    if out:
        write(found, out)
    if report:
        raise typer.Exit(conclude([found], report, budgets=wanted, older=older, console=console))
    raise typer.Exit(int(bool(found.void) or not all(each.best_per_s for each in found.found)))


@app.command()
def ab(
    a: Annotated[str, typer.Argument(help="HTTP address of the deployment to compare with.")],
    b: Annotated[str, typer.Argument(help="HTTP address of the one that may be better.")],
    out: Annotated[Path, typer.Option(help="Write the blocks here, as JSON.")] = Path(
        "build/ab.json"
    ),
    report: Annotated[Path, typer.Option(help="Folder of the report.")] = Path("build/ab"),
    grpc_a: GrpcAt = None,
    grpc_b: Annotated[str | None, typer.Option(help="gRPC address of the second.")] = None,
    scenario: Annotated[str, typer.Option(help=", ".join(scenarios.names()))] = "server",
    rate: Annotated[float, typer.Option(min=0.01, help="Requests per second, all together.")] = 10,
    users: Annotated[int, typer.Option(min=1, help="Callers that wait for answers.")] = 8,
    pairs: Annotated[int, typer.Option(min=2, help="Pairs of blocks, one of each.")] = 12,
    block: Annotated[float, typer.Option(min=1, help="Seconds of a block.")] = 10,
    door: Doors = None,
    task: Mix = None,
    payloads: Source = "examples",
    seed: Seed = 0,
) -> None:
    """Load two deployments in turns, and tell a real difference from noise; 1 where B is worse."""
    console = Console(width=None if Console().is_terminal else 140)
    chosen = about(door, task, payloads, None, seed)
    with ready(a, grpc_a, **chosen) as first, ready(b, grpc_b, **chosen) as second:
        if pairs < (needed := fewest(first, second)):
            raise typer.BadParameter(f"{pairs} pairs cannot tell so many figures; {needed} can")
        way = Way(scenario, block, rate, users)
        told: Callable[[str], None] = lambda line: console.print(line, highlight=False)  # noqa: E731
        measured = compared(first, second, way, pairs=pairs, told=told)
    write(measured, out)
    none = Budgets()
    raise typer.Exit(conclude([measured], report, budgets=none, older=None, console=console))


@app.command()
def report(
    files: Annotated[list[Path], typer.Argument(help="What runs and searches wrote.")],
    out: Annotated[Path, typer.Option(help="Folder of the report.")] = Path("build/report"),
    budget_file: BudgetFile = budgets.FILE,
    baseline: Older = None,
    screenshot: Annotated[
        Path | None, typer.Option(help="Show the page in Chromium, check its width, write a PNG.")
    ] = None,
) -> None:
    """Judge results and make one page of them, with pictures, Markdown and JSON."""
    wanted, older = budgets_of(budget_file), older_of(baseline)
    console = Console(width=None if Console().is_terminal else 140)
    results = results_of(files)
    code = conclude(results, out, budgets=wanted, older=older, console=console)
    if screenshot:
        try:
            photographed(out / "report.html", screenshot)
        except BrowserError as error:
            console.print(f"error: {error}", style="bold red", markup=False)
            raise typer.Exit(REFUSED) from error
    raise typer.Exit(code)


@app.command()
def baseline(
    files: Annotated[list[Path], typer.Argument(help="What runs and searches wrote.")],
    folder: Annotated[Path, typer.Option(help="Where baselines are.")] = baselines.FOLDER,
) -> None:
    """Keep results as the baseline of this machine, against which later ones are held."""
    results = [each for each in results_of(files) if not isinstance(each, Comparison)]
    try:
        print(baselines.save(results, folder))
    except BaselineError as error:
        raise typer.BadParameter(str(error)) from error


@app.command("budgets")
def derive_budgets(
    files: Annotated[list[Path], typer.Argument(help="What runs and searches wrote.")],
    margin: Annotated[
        float, typer.Option(min=1, help="Times may be so many times as long, rates as low.")
    ] = 2.0,
    out: Annotated[Path, typer.Option(help="File to write; figures not measured stay.")] = (
        budgets.FILE
    ),
) -> None:
    """Write what was measured, with a margin, as the budgets that later results have to keep."""
    older = budgets_of(out) if out.exists() else Budgets()
    results = [each for each in results_of(files) if not isinstance(each, Comparison)]
    try:
        new = derive.derived(results, older, margin)
    except BudgetError as error:
        raise typer.BadParameter(str(error)) from error
    out.write_text(derive.text(new, results, margin), encoding="utf-8")
    print(out)


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
