"""model folder → sessions of its graphs: graphs without weights, given those of one file."""

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from threading import Lock
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from service import onnx_session
from service.contract import Arrays, Tensor
from service.int8 import arranged
from service.manifest import GraphFile
from service.providers import Precision, Provider, installed

log = logging.getLogger("attendant")


class Run(Protocol):
    """One run of a graph: called once, while another thread may stop it."""

    def __call__(self) -> dict[str, NDArray[Any]]:
        """The outputs by name; raises if it is stopped."""

    def stop(self) -> None:
        """End it soon."""


class Session(Protocol):
    """A graph that is open, whatever runs it. Threads may run it at the same time."""

    provider: Provider
    inputs: Mapping[str, Tensor]
    outputs: Mapping[str, Tensor]

    def run(self, inputs: Arrays) -> Run:
        """A run on a batch that is not under way yet."""

    def bind(self, inputs: Arrays, outputs: Arrays) -> Callable[[], None]:
        """What runs it on these arrays; those it writes may be those it reads."""


def bound(
    weights: Arrays, names: Sequence[str], precision: Precision = "float32"
) -> dict[str, NDArray[Any]]:
    """The weights that a graph takes, by the names it takes them under."""
    own = {name: arranged(weights, name) for name in names}
    if precision == "float16":
        return {
            name: array.astype(np.float16) if array.dtype == np.float32 else array
            for name, array in own.items()
        }
    return own


def read_weights(path: Path) -> dict[str, NDArray[Any]]:
    """Initializers by name; those stored in float16 are widened to float32, as the graphs want."""
    return {
        name: array.astype(np.float32) if array.dtype == np.float16 else array
        for name, array in load_file(path).items()
    }


def open_session(
    graph: Path,
    weights: Arrays,
    *,
    threads: int,
    provider: Provider = "cpu",
    precision: Precision = "float32",
) -> Session:
    """A session of a graph whose large initializers are in `weights`.

    `threads` is the number of cores one run may use. Where the provider is not installed or fails,
    the plain CPU provider runs the graph, more slowly.
    """
    if provider != "cpu":
        try:
            return session_on(provider, graph, weights, threads=threads, precision=precision)
        except Exception as error:  # a provider's libraries may raise anything
            log.warning("%s: %s; the plain CPU runs it", graph, error)
    return session_on("cpu", graph, weights, threads=threads, precision=precision)


def session_on(
    provider: Provider,
    graph: Path,
    weights: Arrays,
    *,
    threads: int,
    precision: Precision,
    packed: bool = True,
) -> Session:
    """A session on this provider and no other; raises where it is not installed or fails.

    Not `packed`, ONNX Runtime takes large weights as and where they are, and they must outlive the
    session: that is slower, and two copies less. The file that the graph names must be there, and
    is not read.
    """
    if not installed(provider):
        raise RuntimeError(f"{provider} is not installed")
    if provider == "openvino":
        from service import openvino_session  # what it needs may not be installed

        return openvino_session.compiled(graph, weights, threads=threads, precision=precision)
    return onnx_session.opened(provider, graph, weights, threads=threads, packed=packed)


def open_graph(folder: Path, entry: GraphFile, weights: Arrays, *, threads: int) -> Session:
    """A session of a graph as the manifest of its folder has it."""
    return open_session(
        folder / entry.file,
        bound(weights, entry.weights, entry.precision),
        threads=min(threads, entry.threads or threads),
        provider=entry.provider,
        precision=entry.precision,
    )


@runtime_checkable
class Runner(Protocol):
    """The graphs of one model, by name: what a task's `forward` needs of it."""

    def tensors(self, graph: str) -> dict[str, Tensor]:
        """Inputs and outputs of a graph by name."""

    def run(self, graph: str, inputs: Arrays) -> dict[str, NDArray[Any]]:
        """Run one graph on a batch; returns its outputs by name."""

    def bind(self, graph: str, inputs: Arrays, outputs: Arrays) -> Callable[[], None]:
        """What runs one graph on these arrays; those it writes may be those it reads."""


class Model:
    """Open sessions as a Runner.

    `few` holds a number of rows and a session for batches of up to so many, of graphs that have
    one. `later` opens what few requests need, when the first does; what it raises, their run does.
    """

    def __init__(
        self,
        name: str,
        sessions: Mapping[str, Session],
        few: Mapping[str, tuple[int, Session]] | None = None,
        later: Mapping[str, Callable[[], Session]] | None = None,
    ) -> None:
        self.name = name
        self.sessions = dict(sessions)
        self.few = few or {}
        self._later = later or {}
        self._opening = Lock()
        self._running: Run | None = None

    def _open(self, graph: str) -> Session:
        if graph not in self.sessions:
            with self._opening:
                if graph not in self.sessions:
                    self.sessions[graph] = self._later[graph]()
        return self.sessions[graph]

    def _session(self, graph: str, inputs: Arrays) -> Session:
        if graph in self.few:
            most, session = self.few[graph]
            if len(next(iter(inputs.values()))) <= most:
                return session
        return self._open(graph)

    def tensors(self, graph: str) -> dict[str, Tensor]:
        session = self._open(graph)
        return {**session.inputs, **session.outputs}

    def run(self, graph: str, inputs: Arrays) -> dict[str, NDArray[Any]]:
        run = self._running = self._session(graph, inputs).run(inputs)
        try:
            return run()
        finally:
            self._running = None

    def stop(self) -> None:
        """End the `run` that is under way in another thread; it raises there."""
        running = self._running
        if running is not None:
            running.stop()

    def bind(self, graph: str, inputs: Arrays, outputs: Arrays) -> Callable[[], None]:
        return self._session(graph, inputs).bind(inputs, outputs)


def rows_of(outputs: Arrays) -> list[dict[str, NDArray[Any]]]:
    """The outputs of a batch → one dict per row."""
    size = len(next(iter(outputs.values())))
    return [{name: array[row] for name, array in outputs.items()} for row in range(size)]
