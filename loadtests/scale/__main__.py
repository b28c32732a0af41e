"""`python -m loadtests.scale size|simulate`: what more machines would hold, and cost."""

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from loadtests.scale.fleet import Fleet, Pace
from loadtests.scale.sizing import Prices, table

REPORT = Path(__file__).parents[2] / "docs" / "load" / "report.json"
BEGIN, END = "<!-- sizing: written by python -m loadtests.scale size -->", "<!-- end of sizing -->"
app = typer.Typer(add_completion=False, no_args_is_help=True)


class Cores(StrEnum):
    """Whose cores workers run on."""

    own = "own"
    shared = "shared"


@app.command()
def size(
    report: Annotated[Path, typer.Option(help="Of `python -m loadtests report`.")] = REPORT,
    per_s: Annotated[list[float] | None, typer.Option(help="Rates wanted.")] = None,
    core_hour: Annotated[float, typer.Option(help="Dollars for a core an hour.")] = 0.04,
    page: Annotated[Path | None, typer.Option(help="Write it there, between its marks.")] = None,
) -> None:
    """Pods, cores, memory and money for rates, from those that were measured."""
    measured = json.loads(report.read_text(encoding="utf-8"))
    made = table(measured, per_s or [1_000, 100_000], Prices(core_hour=core_hour))
    if page is None:
        typer.echo(made)
        return
    before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, found, after = rest.partition(END)
    if not found:
        raise typer.BadParameter(f"{page} has no place for it: {BEGIN} and {END}")
    page.write_text(f"{before}{BEGIN}\n{made}\n{END}{after}", encoding="utf-8")


@app.command()
def simulate(
    alone_ms: Annotated[float, typer.Option(min=0, help="Latency of a request alone.")],
    rate_per_s: Annotated[float, typer.Option(min=0, help="What one worker sustains.")],
    bound_ms: Annotated[float, typer.Option(min=0, help="What p99 may be.")],
    rows: Annotated[int, typer.Option(min=1, help="Of a full batch.")] = 16,
    threads: Annotated[int, typer.Option(min=1, help="Of that one worker.")] = 2,
    worker: Annotated[list[int] | None, typer.Option(min=1, help="How many workers.")] = None,
    cores: Annotated[Cores, typer.Option(help="A machine each, or one for all.")] = Cores.own,
    measured: Annotated[list[str] | None, typer.Option(help="WORKERS=RATE to compare.")] = None,
    seed: Annotated[int, typer.Option()] = 0,
) -> None:
    """The highest rate that more workers hold, and how far it is from that many times one."""
    pace = Pace.measured(alone_ms, rate_per_s, rows, threads)
    seen = {int(n): float(rate) for n, _, rate in (one.partition("=") for one in measured or ())}
    typer.echo("| workers | balanced | holds | efficiency | measured | off by |")
    typer.echo("|---:|---|---:|---:|---:|---:|")
    one_per_s = 0.0
    for workers in worker or [1, 2, 4, 8, 16, 32]:
        for balance in ("least", "random") if workers > 1 else ("least",):
            if cores is Cores.own:
                fleet = Fleet(pace, workers, workers * threads, balance)
            else:  # workers of one machine divide its threads, as ATTENDANT_WORKERS does
                fleet = Fleet(pace.on(max(1, threads // workers)), workers, threads, balance)
            holds = fleet.highest_per_s(bound_ms, seed=seed)
            one_per_s = one_per_s or holds / workers
            was = seen.get(workers)
            off = f"{was:.4g}/s | {holds / was - 1:+.0%}" if was else "– | –"
            share = holds / workers / one_per_s
            typer.echo(f"| {workers} | {balance} | {holds:.4g}/s | {share:.0%} | {off} |")


if __name__ == "__main__":
    app()
