"""`python -m loadtests.serving.on_ray --ray PYTHON`: what Ray Serve costs beside the service alone.

Both serve the same models on one machine, each with one replica or worker, and are asked the
same in turns, round by round; Ray Serve is held against the service by the ratio within each round.
"""

import asyncio
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from loadtests.serving.attendant import QUIET, attendant, install
from loadtests.serving.doors.clients import Load, http_load, rpc_load
from loadtests.serving.processes import free_port, running
from loadtests.serving.surfaces import Way, of_pictures, of_texts
from loadtests.serving.verdict import Row, conclude

SETTLE_S = 1.0
TASKS = ("translation", "image-classification")


async def _asked(way: Way, http: int, grpc: int, callers: int, seconds: float) -> Load:
    if way.method:
        return await rpc_load(
            grpc, way.method, way.request, way.expected, callers=callers, seconds=seconds
        )
    return await http_load(http, way.request, way.expected, callers=callers, seconds=seconds)


async def _compared(
    ways: list[Way],
    ports: dict[str, tuple[int, int]],
    *,
    callers: int,
    rounds: int,
    seconds: float,
) -> list[Row]:
    table = []
    for way in ways:
        seen: dict[str, list[Load]] = {name: [] for name in ports}
        for turn in range(rounds + 1):
            for name in ports if turn % 2 else reversed(ports):
                load = await _asked(way, *ports[name], callers, seconds if turn else SETTLE_S)
                if turn:
                    seen[name].append(load)
        ratio = median(a.rate / b.rate for a, b in zip(seen["Ray"], seen["alone"], strict=True))
        said = [
            f"{name} {median(load.rate for load in loads):.0f}/s, "
            f"p50 {median(load.percentile_ms(0.5) for load in loads):.1f} ms, "
            f"p99 {median(load.percentile_ms(0.99) for load in loads):.1f} ms"
            for name, loads in seen.items()
        ]
        tried = f"{way.task}, {way.surface}, {callers} callers"
        table.append(Row(tried=tried, saw=f"{ratio:.2f} x; {'; '.join(said)}"))
    return table


def main(
    ray: Annotated[Path, typer.Option(help="Python with requirements/ray.txt.")],
    callers: Annotated[list[int] | None, typer.Option(min=1)] = None,
    rounds: Annotated[int, typer.Option(min=1)] = 5,
    seconds: Annotated[float, typer.Option(min=0.1, help="Of each round.")] = 4.0,
    record: Annotated[Path | None, typer.Option(help="Keep the table in this file.")] = None,
) -> None:
    """Compare requests per second of both on both doors."""
    ways = [way for way in (*of_texts(), *of_pictures()) if not way.native]
    http, grpc = free_port(), free_port()
    command = [str(ray.absolute()), "-m", "deploy.ray.local", "--http-port", str(http)]
    command += ["--grpc-port", str(grpc), *(part for task in TASKS for part in ("--task", task))]
    table: list[Row] = []
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
            ),
        ):
            own_ports = tuple(int(one.rpartition(":")[2]) for one in (alone.url, alone.grpc))
            ports = {"alone": (own_ports[0], own_ports[1]), "Ray": (http, grpc)}
            for number in callers or [1, 16]:
                compared = _compared(ways, ports, callers=number, rounds=rounds, seconds=seconds)
                table += asyncio.run(compared)
    conclude("bench-ray", table, {"rounds": rounds, "seconds": seconds}, record=record)


if __name__ == "__main__":
    typer.run(main)
