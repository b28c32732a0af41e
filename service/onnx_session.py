"""graph and weights → a session of ONNX Runtime, on the plain CPU or on a GPU."""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import onnxruntime as ort
from numpy.typing import NDArray

from service.contract import Arrays, Tensor
from service.providers import NAMES, Provider

DISABLED = "optimization.disable_specified_optimizers"
"""The runtime's name of what lists the optimisations that it leaves out."""
SLOWER = "SkipLayerNormFusion"
"""On the CPU: of 64 rows of 512 it takes 77 us, the sum and the norm that it replaces take 19."""
FOLDING = "ConstantFolding"
LARGE_BYTES = 2**20
"""Weights that a session need not copy."""


TYPES = {
    "tensor(int64)": "int64",
    "tensor(int32)": "int32",
    "tensor(int8)": "int8",
    "tensor(bool)": "bool",
    "tensor(float16)": "float16",
    "tensor(float)": "float32",
}


@cache
def cuda_libraries() -> None:
    """Load the CUDA and cuDNN that were installed as packages; the system's stay where it has any.

    The loader looks for them in no package.
    """
    ort.preload_dlls()


def opened(
    provider: Provider, graph: Path, weights: Arrays, *, threads: int, packed: bool
) -> "OnnxSession":
    """A session on this provider, as `service.session.session_on` says."""
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = threads
    # Each session has threads of its own: those of one must not spin while another one runs.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    left_out = [SLOWER] if provider == "cpu" else []
    providers = [NAMES[provider]]
    if provider == "cuda":
        cuda_libraries()
        providers.append(NAMES["cpu"])  # sizes are computed on the CPU
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
    return OnnxSession(provider, session)


def tensors(nodes: Sequence[ort.NodeArg]) -> Mapping[str, Tensor]:
    """Inputs or outputs, in our words; a type of another kind stays as it is."""
    return {node.name: Tensor(TYPES.get(node.type, node.type), tuple(node.shape)) for node in nodes}


class OnnxRun:
    """One run of a session, which can be terminated."""

    def __init__(self, session: ort.InferenceSession, inputs: Arrays) -> None:
        self.session, self.inputs = session, inputs
        self.options = ort.RunOptions()

    def __call__(self) -> dict[str, NDArray[Any]]:
        names = [output.name for output in self.session.get_outputs()]
        outputs = self.session.run(names, dict(self.inputs), self.options)
        return dict(zip(names, outputs, strict=True))

    def stop(self) -> None:
        self.options.terminate = True


class OnnxSession:
    """ONNX Runtime's session of a graph."""

    def __init__(self, provider: Provider, session: ort.InferenceSession) -> None:
        self.provider = provider
        self.session = session
        self.inputs = tensors(session.get_inputs())
        self.outputs = tensors(session.get_outputs())

    def run(self, inputs: Arrays) -> OnnxRun:
        return OnnxRun(self.session, inputs)

    def bind(self, inputs: Arrays, outputs: Arrays) -> Callable[[], None]:
        binding = self.session.io_binding()
        for bind, arrays in ((binding.bind_input, inputs), (binding.bind_output, outputs)):
            for name, array in arrays.items():
                bind(name, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data)

        def run() -> None:
            # The arrays are named here so that they outlive the binding, which holds addresses.
            assert inputs is not None
            assert outputs is not None
            self.session.run_with_iobinding(binding)

        return run
