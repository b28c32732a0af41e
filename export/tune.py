"""published model → the way to run it that is fastest on this machine and loses no quality.

A way is a target, a precision and a number of threads. Those that pass the task's gate take turns
at batches of each size, so that a machine whose speed drifts is the same for all of them. What
counts is the geometric mean over the sizes: a service sees them all.
"""

import os
import platform
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import geometric_mean, median
from time import perf_counter
from typing import Any

from rich.progress import Progress

from export.gate import examples
from export.model import export_model
from export.precision import change_precision
from export.publish import seal
from export.refusal import Refusal
from export.source import Trained
from service import manifest as manifests
from service.manifest import Manifest, Measured, Tuning
from service.providers import installed
from service.store import open_model
from service.tasks import Item, Task
from service.tasks import task as task_of

PRECISE = "float32"
TRIED: Sequence[tuple[str, str]] = (
    ("cpu", PRECISE),
    ("cpu", "int8"),
    ("openvino", PRECISE),
    ("openvino", "bfloat16"),
    ("openvino", "int8"),
)
"""Targets and precisions; what OpenVINO does not multiply in int8, it does in bfloat16."""
BATCHES = (1, 4, 16)


@dataclass(frozen=True)
class Way:
    """One candidate: its folder, and how it is called."""

    folder: Path
    target: str
    precision: str
    threads: int

    @property
    def name(self) -> str:
        return f"{self.target} {self.precision}, {self.threads} threads"


def candidates(
    trained: Trained, name: str, folder: Path, data_dir: Path
) -> tuple[dict[tuple[str, str], Path], dict[str, str]]:
    """Model folders below `folder` that pass the gate, and why others are not there."""
    made: dict[tuple[str, str], Path] = {}
    refused: dict[str, str] = {}
    for target, precision in TRIED:
        if not installed(target):  # type: ignore[arg-type]
            refused[f"{target} {precision}"] = f"{target} is not installed here"
            continue
        plain, here = folder / f"{target}-{PRECISE}", folder / f"{target}-{precision}"
        try:
            if precision == PRECISE:
                export_model(trained, name=name, target=target, folder=plain)
            else:
                shutil.copytree(plain, here)
                change_precision(here, precision=precision, data_dir=data_dir)
            made[target, precision] = here
        except Refusal as error:
            refused[f"{target} {precision}"] = str(error)
    return made, refused


def measure(
    task: Task, ways: Sequence[Way], items: Sequence[Item], *, rounds: int
) -> list[Measured]:
    """Every way at every batch size, in turns."""
    runs: dict[tuple[str, int], Any] = {}
    for way in ways:
        model, _ = open_model(way.folder, task, threads=way.threads)
        assets = task.load_assets(way.folder)
        for batch in BATCHES:
            chosen = [items[i % len(items)] for i in range(batch)]
            runs[way.name, batch] = partial(task.forward, model, assets, chosen)
    times_ms: dict[tuple[str, int], list[float]] = {key: [] for key in runs}
    with Progress(transient=True) as progress:
        bar = progress.add_task(task.name, total=len(runs) * (rounds + 1))
        for turn in range(rounds + 1):
            for key, run in runs.items():
                start_s = perf_counter()
                run()
                if turn:  # the first is for warmth
                    times_ms[key].append((perf_counter() - start_s) * 1e3)
                progress.advance(bar)
    return [
        Measured(
            way=way,
            batch=batch,
            median_ms=round(median(times), 3),
            least_ms=round(min(times), 3),
            rounds=rounds,
        )
        for (way, batch), times in times_ms.items()
    ]


def fastest(measured: Sequence[Measured]) -> str:
    """The way with the least geometric mean over the batch sizes."""
    by_way: dict[str, list[float]] = {}
    for each in measured:
        by_way.setdefault(each.way, []).append(each.median_ms)
    return min(by_way, key=lambda way: geometric_mean(by_way[way]))


def tune(
    trained: Trained, name: str, folder: Path, *, data_dir: Path, threads: int, rounds: int
) -> tuple[Path, Manifest]:
    """Make, check and measure every way below `folder`; returns the chosen one, sealed."""
    shutil.rmtree(folder, ignore_errors=True)
    made, refused = candidates(trained, name, folder, data_dir)
    task = task_of(name)
    counts = sorted({1, threads})
    ways = [Way(path, *kind, threads=each) for kind, path in made.items() for each in counts]
    chosen_from = examples(name, data_dir, ways[0].folder)[: max(BATCHES)]
    assets = task.load_assets(ways[0].folder)
    items = [item for example in chosen_from for item in task.preprocess(example.request, assets)]
    measured = measure(task, ways, items, rounds=rounds)
    chosen = fastest(measured)
    way = next(each for each in ways if each.name == chosen)
    manifest = manifests.read(way.folder)

    def with_threads(entries: Mapping[str, Any]) -> dict[str, Any]:
        update = {"threads": way.threads}
        return {graph: entry.model_copy(update=update) for graph, entry in entries.items()}

    machine = f"{platform.machine()}, {os.cpu_count()} cores"
    tuning = Tuning(machine=machine, way=chosen, measured=measured, refused=refused)
    graphs, few = with_threads(manifest.graphs), with_threads(manifest.few)
    update = {"graphs": graphs, "few": few, "tuning": tuning}
    return way.folder, seal(way.folder, manifest.model_copy(update=update))
