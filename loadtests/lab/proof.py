"""`python -m loadtests prove`: how punctual the generator is, and whether other tools see the same.

Both measure a scripted server, whose own work is next to none, on a core of its own.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import process_time
from typing import Annotated

import psutil
import typer
from rich.console import Console

from loadtests.lab import others
from loadtests.lab.run import Prepared, Target, Way, measure, prepare
from loadtests.lab.scripted import Script
from loadtests.serving.processes import free_port
from loadtests.serving.verdict import Row, conclude, judged

app = typer.Typer(no_args_is_help=True)
TASK = "translation"
"""What the scripted server answers."""
LAG_MS = 5.0
APART = 0.10
"""By how much the rates of two tools may differ."""


@contextmanager
def scripted(*, delay_s: float = 0.0) -> Iterator[tuple[str, str]]:
    """HTTP and gRPC addresses of a server; it and this process get a core each, if there are two.

    Raises RuntimeError where it does not start.
    """
    script = Script(http_port=free_port(), grpc_port=free_port(), delay_s=delay_s)
    command = [sys.executable, "-m", "loadtests.lab.scripted", script.model_dump_json()]
    server = subprocess.Popen(command, stdout=subprocess.PIPE)
    cores = sorted(os.sched_getaffinity(0))
    try:
        assert server.stdout
        if server.stdout.readline() != b"ready\n":
            raise RuntimeError("the scripted server does not start")
        if len(cores) > 1:
            psutil.Process(server.pid).cpu_affinity([cores[1]])
            os.sched_setaffinity(0, cores[:1])
        yield f"http://127.0.0.1:{script.http_port}", f"127.0.0.1:{script.grpc_port}"
    finally:
        os.sched_setaffinity(0, cores)
        server.kill()
        server.communicate()


@app.command()
def lag(
    rate: Annotated[float, typer.Option(min=1, help="Requests per second on each door.")] = 1000,
    duration: Annotated[float, typer.Option(min=1, help="Seconds for each door.")] = 20,
) -> None:
    """Offer a rate of a no-op from one core; 1 where p99 of the send lag is not under 5 ms."""
    rows = []
    with scripted() as (url, grpc):
        for door in ("REST", "gRPC"):
            server = prepare(Target(url, grpc, doors=(door,), mix={TASK: 1.0}))
            measure(server, Way(duration_s=1, rate_per_s=rate))  # connects, and warms up
            began_s = process_time()
            run = measure(server, Way(duration_s=duration, rate_per_s=rate))
            cores = (process_time() - began_s) / run.duration_s
            (cell,) = run.cells()
            p99_ms = run.send_lag.percentile_ms(0.99)
            saw = f"{cell.answered / run.duration_s:.0f}/s right of {cell.due / duration:.0f}/s, "
            saw += f"{cores:.2f} cores, lag p50 {run.send_lag.percentile_ms(0.5):.2f} ms, "
            wanted = f"p99 under {LAG_MS:g} ms, all answered"
            met = p99_ms < LAG_MS and cell.answered == cell.due
            rows.append(judged(door, f"{saw}p99 {p99_ms:.2f} ms", wanted, met=met))
    conclude("send lag", rows, {}, record=None)


def ours(server: Prepared, users: int, duration_s: float) -> float:
    run = measure(server, Way("closed", duration_s, users=users))
    return sum(cell.answered for cell in run.cells()) / run.duration_s


def compared(seen: dict[str, list[float]], point: str) -> list[Row]:
    """Rates of each tool at one point, held against ours by the medians of the rounds."""
    own = median(seen["this generator"])
    rows = []
    for tool, rates in seen.items():
        apart = median(rates) / own - 1
        saw = f"{median(rates):.1f}/s, {apart:+.1%}"
        rows.append(judged(f"{point}: {tool}", saw, f"within {APART:.0%}", met=abs(apart) <= APART))
    return rows


@app.command()
def agreement(
    against: Annotated[
        str | None, typer.Option(help="HTTP address of a server; else the scripted one.")
    ] = None,
    task: Annotated[str, typer.Option(help="What is asked of it, on REST.")] = TASK,
    users: Annotated[list[int] | None, typer.Option(help="Callers; again for more points.")] = None,
    delay: Annotated[float, typer.Option(min=0, help="Of the scripted server, ms.")] = 10.0,
    duration: Annotated[float, typer.Option(min=1, help="Seconds of a round.")] = 5,
    rounds: Annotated[int, typer.Option(min=1, help="Of each tool, in turns.")] = 3,
) -> None:
    """Measure the same closed loops with wrk, hey and h2load; 1 where they are over 10 % apart."""
    tools = others.installed()
    if not tools:
        Console(stderr=True).print(f"install one of: {', '.join(others.PACKAGES.values())}")
        raise typer.Exit(2)
    rows: list[Row] = []
    for number in users or (1, 8, 16):
        with at(against, delay / 1e3) as url, TemporaryDirectory() as folder:
            server = prepare(Target(url, "", doors=("REST",), mix={task: 1.0}))
            asked = others.Asked.of(server.calls[0], url, Path(folder))
            seen: dict[str, list[float]] = {"this generator": []}
            for _ in range(rounds):
                seen["this generator"].append(ours(server, number, duration))
                for tool in tools:
                    found = others.rate(tool, asked, users=number, duration_s=duration)
                    seen.setdefault(tool, []).append(found)
        rows += compared(seen, f"{number} callers")
    conclude("closed loops", rows, {}, record=None)


@contextmanager
def at(against: str | None, delay_s: float) -> Iterator[str]:
    """The server that was named, or a scripted one."""
    if against:
        yield against.rstrip("/")
        return
    with scripted(delay_s=delay_s) as (url, _):
        yield url
