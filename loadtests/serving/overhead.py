"""`python -m loadtests.serving.overhead`: what the doors cost, beside other servers, with no model.

Every server gives a short text back to callers who ask again at once. The servers are asked in
turns, round by round, so that a slow moment of the machine meets all of them.
"""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from subprocess import DEVNULL
from typing import Annotated

import typer

from loadtests.serving.doors import clients
from loadtests.serving.doors.clients import Load
from loadtests.serving.verdict import Row, conclude, judged

ROOT = Path(__file__).parents[2]
ENVIRONMENTS = Path("build/peers")
PEERS = "peers-doors"
START_S = 60.0
SETTLE_S = 1.0
TAIL = 4.0
"""The 99th percentile is at most so many medians."""


@dataclass(frozen=True)
class Server:
    """What is started, and how it is asked."""

    name: str
    command: tuple[str, ...]
    port: int
    asked_over: str


@dataclass(frozen=True)
class Claim:
    """One server's rate is at least so many times another's."""

    server: str
    peer: str
    least: float


CLAIMS = (
    Claim("Attendant, REST", "LitServe", 2.5),
    Claim("Attendant, REST", "FastAPI", 0.5),
    Claim("Attendant, gRPC", "grpc.aio", 0.8),
)
TAILS = ("Attendant, REST", "Attendant, gRPC")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def servers(python: str) -> list[Server]:
    """All of them; `python` is that of the peers' environment."""
    here, module = "loadtests/serving/doors", "loadtests.serving.doors"
    http, rpc, slow_http, slow_rpc, fast, lit, echo = (str(free_port()) for _ in range(7))
    own = (sys.executable, "-m", f"{module}.attendant_echo")
    through = (*own, slow_http, slow_rpc, "engine")
    return [
        Server("Attendant, REST", (*own, http, rpc, "direct"), int(http), "http"),
        Server("FastAPI", (python, f"{here}/fastapi_echo.py", fast), int(fast), "http"),
        Server("LitServe", (python, f"{here}/litserve_echo.py", lit), int(lit), "http"),
        Server("Attendant, REST and its threads", through, int(slow_http), "http"),
        Server("Attendant, gRPC", (*own, http, rpc, "direct"), int(rpc), "grpc"),
        Server("grpc.aio", (sys.executable, "-m", f"{module}.grpc_echo", echo), int(echo), "grpc"),
        Server("Attendant, gRPC and its threads", through, int(slow_rpc), "grpc"),
    ]


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    until_s = time.monotonic() + START_S
    while time.monotonic() < until_s and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.1)
    raise typer.BadParameter(f"no server on port {port}: {process.args!r} does not start")


@contextmanager
def running(all_of: Sequence[Server]) -> Iterator[None]:
    """Every server's process, ended at the end."""
    with ExitStack() as stack:
        for command in dict.fromkeys(server.command for server in all_of):
            process = subprocess.Popen(command, cwd=ROOT, stdout=DEVNULL, process_group=0)
            stack.callback(process.wait)
            # With its children: LitServe leaves them behind when it is terminated.
            stack.callback(os.killpg, process.pid, signal.SIGKILL)
            for server in all_of:
                if server.command == command:
                    _wait_for(server.port, process)
        yield


def ask(server: Server, callers: int, seconds: float) -> Load:
    client = clients.http if server.asked_over == "http" else clients.rpc
    return asyncio.run(client(server.port, callers=callers, seconds=seconds))


def measure(
    all_of: Sequence[Server], *, callers: int, rounds: int, seconds: float
) -> dict[str, list[Load]]:
    """Each server's rounds, taken in turns after a first one that does not count."""
    seen: dict[str, list[Load]] = {server.name: [] for server in all_of}
    with running(all_of):
        for turn in range(rounds + 1):
            for server in all_of:
                load = ask(server, callers, seconds if turn else SETTLE_S)
                if turn:
                    seen[server.name].append(load)
    return seen


def rows(seen: dict[str, list[Load]]) -> list[Row]:
    """What was seen of each server, then what is asked of ours."""
    table = []
    for name, loads in seen.items():
        p50, p99 = (median(load.percentile_ms(share) for load in loads) for share in (0.5, 0.99))
        rate = median(load.rate for load in loads)
        table.append(Row(tried=name, saw=f"{rate:.0f}/s, p50 {p50:.1f} ms, p99 {p99:.1f} ms"))
    for claim in CLAIMS:
        if claim.peer not in seen:
            table.append(Row(tried=claim.server, saw="not installed", met="skipped"))
            continue
        # Of one round each, so that what slowed both down falls out.
        pairs = zip(seen[claim.server], seen[claim.peer], strict=True)
        ratio = median(ours.rate / theirs.rate for ours, theirs in pairs)
        wanted = f"at least {claim.least} x {claim.peer}"
        table.append(judged(claim.server, f"{ratio:.2f} x", wanted, met=ratio >= claim.least))
    for name in TAILS:
        tail = median(load.percentile_ms(0.99) / load.percentile_ms(0.5) for load in seen[name])
        wanted = f"p99 at most {TAIL:g} x p50"
        table.append(judged(name, f"{tail:.2f} x", wanted, met=tail <= TAIL))
    return table


def main(
    callers: Annotated[int, typer.Option(min=1)] = 32,
    rounds: Annotated[int, typer.Option(min=1, help="Of each server, in turns.")] = 5,
    seconds: Annotated[float, typer.Option(min=0.1, help="Of each round.")] = 4.0,
    environments: Annotated[Path, typer.Option(help="Where the peers are.")] = ENVIRONMENTS,
    record: Annotated[Path | None, typer.Option(help="Keep the table in this file.")] = None,
) -> None:
    """Compare requests per second; exits 1 where a claim is missed."""
    python = (environments / PEERS / "bin" / "python").absolute()
    all_of = servers(str(python))
    if not python.exists():
        all_of = [server for server in all_of if server.command[0] != str(python)]
    seen = measure(all_of, callers=callers, rounds=rounds, seconds=seconds)
    terms = {"callers": callers, "rounds": rounds, "seconds": seconds}
    conclude("bench-overhead", rows(seen), terms, record=record)


if __name__ == "__main__":
    typer.run(main)
