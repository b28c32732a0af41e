"""graph and weights → a session of OpenVINO's own API, compiled for the processor it is on."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import openvino
from numpy.typing import NDArray

from service.contract import Arrays, Tensor
from service.pb.graph_pb2 import File, Graph, Stored, Value
from service.providers import Precision, Provider

IN_MEMORY = "*/_ORT_MEM_ADDR_/*"
"""The file of an initializer that OpenVINO takes from an address: its offset."""
EXTERNAL = 1
"""A tensor's place is another file."""
DTYPES = {1: "float32", 3: "int8", 6: "int32", 7: "int64", 9: "bool", 10: "float16"}
"""The format's numbers of those that a contract may have."""
HINTS: Mapping[Precision, str] = {"float32": "f32", "bfloat16": "bf16", "float16": "f16"}


@cache
def core() -> openvino.Core:
    return openvino.Core()


def stored(graph: Graph) -> Iterator[Stored]:
    """The tensors that a graph, and those within it, come with."""
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            yield from (attribute.t, *attribute.tensors)
            for inner in (attribute.g, *attribute.graphs):
                yield from stored(inner)


def in_memory(graph: Graph, weights: Arrays) -> None:
    """Have the tensors that are outside of a graph be where these weights are.

    Raises RuntimeError for one that is not among them: a graph is to read no other file or memory.
    """
    for tensor in stored(graph):
        if tensor.data_location == EXTERNAL:
            if tensor.name not in weights:
                raise RuntimeError(f"the graph takes {tensor.name or 'a tensor'} from elsewhere")
            array = weights[tensor.name]
            place = {"location": IN_MEMORY, "offset": array.ctypes.data, "length": array.nbytes}
            del tensor.external_data[:]
            for key, value in place.items():
                tensor.external_data.add(key=key, value=str(value))


def tensors(values: Iterable[Value]) -> Mapping[str, Tensor]:
    """Inputs or outputs of a graph: OpenVINO forgets what their axes are called."""
    return {
        value.name: Tensor(
            DTYPES[value.type.tensor_type.elem_type],
            tuple(axis.dim_param or axis.dim_value for axis in value.type.tensor_type.shape.dim),
        )
        for value in values
    }


def compiled(
    graph: Path, weights: Arrays, *, threads: int, precision: Precision
) -> "OpenVINOSession":
    """Raises RuntimeError where the graph cannot be compiled.

    A processor that does not multiply in `precision` does so in float32.
    """
    weights = {name: np.ascontiguousarray(array) for name, array in weights.items()}
    file = File.FromString(graph.read_bytes())
    in_memory(file.graph, weights)
    model = core().read_model(BytesIO(file.SerializeToString()))
    known = core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    hint = HINTS[precision]
    config = {
        "INFERENCE_PRECISION_HINT": hint if hint.upper() in known else "f32",
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
        # Models that are pinned are all pinned to the same cores.
        "ENABLE_CPU_PINNING": False,
    }
    session = OpenVINOSession(
        core().compile_model(model, "CPU", config),
        tensors(file.graph.input),
        tensors(file.graph.output),
        weights,
    )
    for name, tensor in session.outputs.items():
        found = session.model.output(name).get_element_type().to_dtype().name
        if found != tensor.dtype:  # its compiler takes signed for unsigned in some int8 graphs
            raise RuntimeError(f"OpenVINO gives {name} as {found}, not {tensor.dtype}")
    return session


class OpenVINORun:
    """One run, by a request that no other run has meanwhile."""

    def __init__(self, session: "OpenVINOSession", inputs: Arrays) -> None:
        self.session, self.inputs = session, inputs
        try:
            self.request = session.idle.pop()
        except IndexError:
            self.request = session.model.create_infer_request()

    def __call__(self) -> dict[str, NDArray[Any]]:
        # What is called `infer` cannot be cancelled.
        self.request.start_async(self.session.taken(self.inputs), share_inputs=True)
        self.request.wait()
        found = {
            name: np.array(self.request.get_tensor(name).data) for name in self.session.outputs
        }
        self.session.idle.append(self.request)
        return found

    def stop(self) -> None:
        self.request.cancel()


class OpenVINOSession:
    """A compiled graph, and requests to run it that are not under way."""

    provider: Provider = "openvino"

    def __init__(
        self,
        model: openvino.CompiledModel,
        inputs: Mapping[str, Tensor],
        outputs: Mapping[str, Tensor],
        weights: Arrays,
    ) -> None:
        self.model, self.inputs, self.outputs = model, inputs, outputs
        self.idle: deque[openvino.InferRequest] = deque()
        self._read = {name for port in model.inputs for name in port.get_names()}
        self._weights = weights  # read where they are, as long as it runs

    def taken(self, inputs: Arrays) -> dict[str, NDArray[Any]]:
        """Those that the graph reads: OpenVINO knows no others."""
        return {name: array for name, array in inputs.items() if name in self._read}

    def run(self, inputs: Arrays) -> OpenVINORun:
        return OpenVINORun(self, inputs)

    def bind(self, inputs: Arrays, outputs: Arrays) -> Callable[[], None]:
        request = self.model.create_infer_request()
        for name, array in {**self.taken(inputs), **outputs}.items():
            request.set_tensor(name, openvino.Tensor(array, shared_memory=True))

        def run() -> None:
            request.infer()

        return run
