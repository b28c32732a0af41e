"""model folder → ONNX Runtime sessions: graphs without weights, bound to one weights file."""

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from threading import Lock
from typing import Any, Protocol, runtime_checkable

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from safetensors.numpy import load_file

from service.contract import Tensor, described
from service.int8 import arranged
from service.manifest import GraphFile
from service.providers import NAMES, Precision, Provider, installed, use

log = logging.getLogger("attendant")

DISABLED = "optimization.disable_specified_optimizers"
"""The runtime's name of what lists the optimisations that it leaves out."""
SLOWER = "SkipLayerNormFusion"
"""On the CPU: of 64 rows of 512 it takes 77 us, the sum and the norm that it replaces take 19."""
FOLDING = "ConstantFolding"
LARGE_BYTES = 2**20
"""Weights that a session need not copy."""

Arrays = Mapping[str, NDArray[Any]]


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
) -> ort.InferenceSession:
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
) -> ort.InferenceSession:
    """A session on this provider and no other; raises where it is not installed or fails.

    Not `packed`, large weights are taken as and where they are, and must outlive the session: that
    is slower, and two copies less. The file that the graph names must be there, and is not read.
    """
    if not installed(provider):
        raise RuntimeError(f"{provider} is not installed")
    options = ort.SessionOptions()
    options.log_severity_level = 3
    left_out = [SLOWER] if provider == "cpu" else []
    providers = use(options, provider, precision=precision, threads=threads)
    values = {name: ort.OrtValue.ortvalue_from_numpy(array) for name, array in weights.items()}
    copied = values
    if not packed:
        options.add_session_config_entry("session.disable_prepacking", "1")
        # What it folds it would take from the file that the graph names, and not from here; so
        # would other optimizations, which look at small ones.
        left_out.append(FOLDING)
        copied = {name: values[name] for name in values if weights[name].nbytes < LARGE_BYTES}
        for name in values.keys() - copied.keys():
            options.add_initializer(name, values[name])
    if left_out:
        options.add_session_config_entry(DISABLED, ";".join(left_out))
    options.add_external_initializers(list(copied), list(copied.values()))
    session = ort.InferenceSession(str(graph), options, providers=providers)
    if session.get_providers()[0] != NAMES[provider]:
        # The runtime does without a provider whose device or libraries it does not find.
        raise RuntimeError(f"{provider} does not start here: look at its driver and libraries")
    return session


def open_graph(
    folder: Path, entry: GraphFile, weights: Arrays, *, threads: int
) -> ort.InferenceSession:
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
    """Open ONNX Runtime sessions as a Runner.

    `few` holds a number of rows and a session for batches of up to so many, of graphs that have
    one. `later` opens what few requests need, when the first does; what it raises, their run does.
    """

    def __init__(
        self,
        name: str,
        sessions: Mapping[str, ort.InferenceSession],
        few: Mapping[str, tuple[int, ort.InferenceSession]] | None = None,
        later: Mapping[str, Callable[[], ort.InferenceSession]] | None = None,
    ) -> None:
        self.name = name
        self.sessions = dict(sessions)
        self.few = few or {}
        self._later = later or {}
        self._opening = Lock()
        self._running: ort.RunOptions | None = None

    def _open(self, graph: str) -> ort.InferenceSession:
        if graph not in self.sessions:
            with self._opening:
                if graph not in self.sessions:
                    self.sessions[graph] = self._later[graph]()
        return self.sessions[graph]

    def _session(self, graph: str, inputs: Arrays) -> ort.InferenceSession:
        if graph in self.few:
            most, session = self.few[graph]
            if len(next(iter(inputs.values()))) <= most:
                return session
        return self._open(graph)

    def tensors(self, graph: str) -> dict[str, Tensor]:
        session = self._open(graph)
        nodes = (*session.get_inputs(), *session.get_outputs())
        return {node.name: described(node) for node in nodes}

    def run(self, graph: str, inputs: Arrays) -> dict[str, NDArray[Any]]:
        session = self._session(graph, inputs)
        names = [output.name for output in session.get_outputs()]
        self._running = ort.RunOptions()
        try:
            outputs = session.run(names, dict(inputs), self._running)
        finally:
            self._running = None
        return dict(zip(names, outputs, strict=True))

    def stop(self) -> None:
        """End the `run` that is under way in another thread; it raises there."""
        running = self._running
        if running is not None:
            running.terminate = True

    def bind(self, graph: str, inputs: Arrays, outputs: Arrays) -> Callable[[], None]:
        session = self._session(graph, inputs)
        binding = session.io_binding()
        for bind, arrays in ((binding.bind_input, inputs), (binding.bind_output, outputs)):
            for name, array in arrays.items():
                bind(name, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data)

        def run() -> None:
            # The arrays are named here so that they outlive the binding, which holds addresses.
            assert inputs is not None
            assert outputs is not None
            session.run_with_iobinding(binding)

        return run


def rows_of(outputs: Arrays) -> list[dict[str, NDArray[Any]]]:
    """The outputs of a batch → one dict per row."""
    size = len(next(iter(outputs.values())))
    return [{name: array[row] for name, array in outputs.items()} for row in range(size)]
