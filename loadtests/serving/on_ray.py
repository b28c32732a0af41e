"""`python -m loadtests.serving.on_ray --ray PYTHON`: what Ray Serve costs beside the service alone.

Both serve the same models on one machine, each with one replica or worker, and are asked the
same in turns, round by round; Ray Serve is held against the service by the ratio within each round.
"""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from loadtests.serving.attendant import QUIET, attendant, install
from loadtests.serving.doors.clients import Load, http_load, rpc_load
from loadtests.serving.processes import Running, free_port, running
from loadtests.serving.surfaces import Way, of_pictures, of_texts
from loadtests.serving.verdict import Row, conclude

SETTLE_S = 1.0
TASKS = ("translation", "image-classification")
RAY, ALONE = "Ray", "alone"


@dataclass(frozen=True)
class Server:
    """One of the two, and its ports."""

    running: Running
    http: int
    grpc: int


@dataclass(frozen=True)
class Seen:
    """The rounds of one way on one server, by their medians."""

    rates: list[float]
    p50_ms: float
    p99_ms: float
    cpu_ms: float
    """Processor time of all processes of the server, for an answer."""

    @classmethod
    def of(cls, rounds: Sequence[tuple[Load, float]]) -> "Seen":
        loads = [load for load, _ in rounds]
        return cls(
            [load.rate for load in loads],
            median(load.percentile_ms(0.5) for load in loads),
            median(load.percentile_ms(0.99) for load in loads),
            median(1e3 * used_s / len(load.latencies_s) for load, used_s in rounds),
        )

    def __str__(self) -> str:
        times = f"p50 {self.p50_ms:.1f} ms, p99 {self.p99_ms:.1f} ms"
        return f"{median(self.rates):.0f}/s, {times}, {self.cpu_ms:.1f} ms of processor time each"


async def _asked(way: Way, server: Server, callers: int, seconds: float) -> tuple[Load, float]:
    """What the callers saw, and the processor time that it took the server."""
    before_s = server.running.cpu_s()
    if way.method:
        load = await rpc_load(
            server.grpc, way.method, way.request, way.expected, callers=callers, seconds=seconds
        )
    else:
        load = await http_load(
            server.http, way.request, way.expected, callers=callers, seconds=seconds
        )
    return load, server.running.cpu_s() - before_s


async def compared(
    way: Way, servers: dict[str, Server], callers: int, rounds: int, seconds: float
) -> dict[str, Seen]:
    """Each server's rounds, in turns, after a first one that does not count."""
    seen: dict[str, list[tuple[Load, float]]] = {name: [] for name in servers}
    for turn in range(rounds + 1):
        for name in servers if turn % 2 else reversed(servers):
            got = await _asked(way, servers[name], callers, seconds if turn else SETTLE_S)
            if turn:
                seen[name].append(got)
    return {name: Seen.of(each) for name, each in seen.items()}


def row(way: Way, callers: int, seen: Mapping[str, Seen]) -> Row:
    """How many answers a second Ray Serve gives for one of the service, round by round."""
    pairs = zip(seen[RAY].rates, seen[ALONE].rates, strict=True)
    ratio = median(ray / alone for ray, alone in pairs)
    said = "; ".join(f"{name} {one}" for name, one in seen.items())
    who = f"{callers} {'caller' if callers == 1 else 'callers'}"
    return Row(tried=f"{way.task}, {way.surface}, {who}", saw=f"{ratio:.2f} x; {said}")


def overhead(found: Mapping[tuple[Way, int], Mapping[str, Seen]]) -> Iterator[Row]:
    """What Ray Serve adds to a request, door by door and by how many ask, over the tasks."""
    for door, callers in dict.fromkeys((way.surface, callers) for way, callers in found):
        each = [
            (seen[RAY].p50_ms - seen[ALONE].p50_ms, seen[RAY].cpu_ms - seen[ALONE].cpu_ms)
            for (way, number), seen in found.items()
            if (way.surface, number) == (door, callers)
        ]
        waits, works = zip(*each, strict=True)
        said = f"{min(waits):+.1f} to {max(waits):+.1f} ms at p50, "
        said += f"{min(works):+.1f} to {max(works):+.1f} ms of processor time"
        yield Row(tried=f"Ray adds, {door}, callers: {callers}", saw=said)


@contextmanager
def both(ray: Path) -> Iterator[dict[str, Server]]:
    """The service and one replica on a Ray of this machine, of the same models."""
    http, grpc = free_port(), free_port()
    command = [str(ray.absolute()), "-m", "deploy.ray.local", "--http-port", str(http)]
    command += ["--grpc-port", str(grpc), *(part for task in TASKS for part in ("--task", task))]
    with TemporaryDirectory(prefix="attendant-") as folder:
        own = {**QUIET, "BENTOML_HOME": folder, "PIP_NO_INDEX": "1"}
        install(own)
        quiet = {"ATTENDANT_LOG_LEVEL": "warning"}
        with (
            attendant(Path(folder), quiet) as alone,
            running(
                command,
                port=http,
                ready="/readyz",
                log=Path(folder) / "ray.txt",
                variables={**own, **quiet, "PYTHONPATH": str(Path.cwd())},
            ) as on_ray,
        ):
            ports = [int(one.rpartition(":")[2]) for one in (alone.url, alone.grpc)]
            yield {ALONE: Server(alone, *ports), RAY: Server(on_ray, http, grpc)}


def main(
    ray: Annotated[Path, typer.Option(help="Python with requirements/ray.txt.")],
    callers: Annotated[list[int] | None, typer.Option(min=1)] = None,
    rounds: Annotated[int, typer.Option(min=1)] = 5,
    seconds: Annotated[float, typer.Option(min=0.1, help="Of each round.")] = 4.0,
    record: Annotated[Path | None, typer.Option(help="Keep the table in this file.")] = None,
) -> None:
    """Compare answers per second, latency and processor time of both on both doors."""
    numbers = callers or [1, 16]
    ways = [way for way in (*of_texts(), *of_pictures()) if not way.native]
    with both(ray) as servers:
        found = {
            (way, number): asyncio.run(compared(way, servers, number, rounds, seconds))
            for number in numbers
            for way in ways
        }
    table = [row(way, number, seen) for (way, number), seen in found.items()]
    asked = " and ".join(map(str, numbers))
    terms = {"callers": asked, "rounds": rounds, "seconds": seconds}
    conclude("bench-ray", [*table, *overhead(found)], terms, record=record)


if __name__ == "__main__":
    typer.run(main)
