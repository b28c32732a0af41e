"""model folder → BentoML model store → checked, open model."""

import shutil
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from math import prod
from pathlib import Path

import bentoml
from safetensors import SafetensorError, safe_open

from service import manifest as manifests
from service.contract import Arrays, violations
from service.errors import Unavailable
from service.explanation import GRAPHS as EXPLAINING
from service.heap import give_back
from service.kinds import task_of
from service.manifest import WEIGHTS, GraphFile, Manifest
from service.session import Model, Session, open_graph, read_weights
from service.tasks import Task

MODULE = "attendant"
"""What marks our models in a store that others may use too."""
WIDTHS_BYTES = {"F16": 4, "F32": 4, "F64": 8, "I64": 8, "I32": 4, "I8": 1, "U8": 1, "BOOL": 1}
"""Of an element in memory: float16 is widened."""
REMEDY = "put it in the store again with make models or python -m export"


class BrokenModel(Exception):
    """A model folder that cannot be served; the message names the model and what is wrong."""


def holds(tag: str) -> bool:
    """True when this version of a model is in the store, whole."""
    try:
        folder = Path(bentoml.models.get(tag).path)
        return not manifests.damaged(folder, manifests.read(folder))
    except (bentoml.exceptions.BentoMLException, OSError, ValueError):
        return False


def install(folder: Path) -> str:
    """Copy a model folder into the store, unless its version is there; returns its tag."""
    manifest = manifests.read(folder)
    tag = f"{manifest.name}:{manifest.version}"
    if not holds(tag) or manifests.read(Path(bentoml.models.get(tag).path)) != manifest:
        with suppress(bentoml.exceptions.NotFound):
            bentoml.models.delete(tag)  # what an interrupted install left
        with bentoml.models.create(tag, module=MODULE) as entry:
            shutil.copytree(folder, entry.path, dirs_exist_ok=True)
    return tag


def _newest(name: str) -> bentoml.Model | None:
    try:
        return bentoml.models.get(f"{name}:latest")
    except bentoml.exceptions.BentoMLException:
        return None


def names() -> list[str]:
    """Of all our models in the store."""
    found = bentoml.models.list()
    return sorted({model.tag.name for model in found if model.info.module == MODULE})


def tags(name: str) -> list[str]:
    """The versions of a model in the store, the newest first."""
    first = newest(name)
    if first is None:
        return []
    found = sorted(bentoml.models.list(name), key=lambda model: model.creation_time, reverse=True)
    return [first, *(str(model.tag) for model in found if str(model.tag) != first)]


def memory_bytes(folder: Path) -> int:
    """About what a model takes once it is open; 0 where its weights cannot be read.

    Its weights as they are read, and once more as the kernels lay them out for themselves. What a
    request needs while it is computed comes on top, and the graph that explains once it is asked.
    """
    try:
        with safe_open(folder / WEIGHTS, "numpy") as file:
            tensors = [file.get_slice(name) for name in file.keys()]  # noqa: SIM118
            sizes = (prod(t.get_shape()) * WIDTHS_BYTES[t.get_dtype()] for t in tensors)
            return 2 * int(sum(sizes))
    except (OSError, SafetensorError, KeyError):
        return 0


def newest(name: str) -> str | None:
    """The tag of the newest version of a model in the store, or None."""
    model = _newest(name)
    return str(model.tag) if model else None


def locate(name: str) -> Path | None:
    """The folder of the newest version of a model in the store, or None."""
    model = _newest(name)
    return Path(model.path) if model else None


def _read(folder: Path, task: Task) -> Manifest:
    try:
        return manifests.read(folder)
    except (OSError, ValueError) as error:
        raise BrokenModel(
            f"{task.name}: unreadable manifest in {folder}, so {REMEDY}: {error}"
        ) from error


def kind_of(folder: Path, task: Task) -> Task:
    """The task as this kind of model does it; raises `BrokenModel`."""
    return task_of(task, _read(folder, task).graphs)


def open_model(folder: Path, task: Task, *, threads: int) -> tuple[Model, Manifest]:
    """Check hashes and contract, then open the sessions; raises `BrokenModel`.

    The graph that explains is opened when it is first run, which raises `Unavailable` where it then
    cannot be.
    """
    manifest = _read(folder, task)
    weights = _weights(folder, manifest)
    task = task_of(task, manifest.graphs)
    if unknown := sorted({*manifest.graphs} - {*task.contract}):
        raise BrokenModel(
            f"{manifest.name}:{manifest.version}: {', '.join(unknown)}: not a graph of {task.name}"
            " in this version of the service: export the model again"
        )

    def opened(graph: str, entry: GraphFile, weights: Arrays) -> Session:
        at = f"{manifest.name}:{manifest.version}: {entry.file}"
        try:
            session = open_graph(folder, entry, weights, threads=threads)
        except Exception as error:  # what runs graphs has no common base for its errors
            raise BrokenModel(f"{at}: {error}") from error
        sides = session.inputs, session.outputs
        faults = violations(task.contract[graph], *sides, cache_dtype=manifest.cache_dtype)
        if faults:
            raise BrokenModel(f"{at}: {'; '.join(faults)}")
        return session

    def opened_later(graph: str, entry: GraphFile) -> Session:
        try:
            return opened(graph, entry, _weights(folder, manifest))
        except BrokenModel as fault:
            raise Unavailable(str(fault), retry_after_s=None) from fault
        finally:
            give_back()  # the weights as they were read

    later = {
        graph: partial(opened_later, graph, entry)
        for graph, entry in manifest.graphs.items()
        if graph in EXPLAINING
    }
    sessions = {
        graph: opened(graph, entry, weights)
        for graph, entry in manifest.graphs.items()
        if graph not in later
    }
    few = {
        graph: (entry.rows, opened(graph, entry, weights)) for graph, entry in manifest.few.items()
    }
    needed = {graph for graph, contract in task.contract.items() if not contract.aside}
    missing = sorted(needed - set(sessions))
    if missing:
        raise BrokenModel(f"{manifest.name}:{manifest.version}: lacks {', '.join(missing)}")
    return Model(f"{manifest.name}:{manifest.version}", sessions, few, later), manifest


def _weights(folder: Path, manifest: Manifest) -> Arrays:
    """Those of a folder in which nothing is damaged; raises `BrokenModel`."""
    faults = manifests.damaged(folder, manifest)
    if faults:
        raise BrokenModel(f"{manifest.name}:{manifest.version}: {'; '.join(faults)}; {REMEDY}")
    return read_weights(folder / WEIGHTS)


def shipped(folder: Path = manifests.SHIPPED) -> Mapping[str, Path]:
    """Model folders that come with the repository, by name."""
    return {path.parent.name: path.parent for path in sorted(folder.glob(f"*/{manifests.NAME}"))}
