"""torch module and exported graph → parity report, or an error that says where they differ.

The reference is the module as it was trained, on a grid of batch sizes and lengths, padded and
not, all outputs; and every attention must have become the op that the architecture states.
"""

from pathlib import Path

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
import torch

from export.refusal import Refusal
from export.targets import Mapped
from models.graph import Attentions, Graph
from service.contract import Arrays, violations
from service.manifest import GraphParity
from service.providers import installed
from service.session import session_on


class ParityError(Refusal):
    """The exported graph is not the trained model."""


def check(
    graph: Graph,
    lowered: ir.Model,
    *,
    file: Path,
    weights: Arrays,
    mapped: Mapped,
    attentions: Attentions,
    tolerance: float,
    packed: bool = True,
) -> GraphParity:
    """Compare the published file with the module; raises `ParityError`.

    The session is the one that serves if `packed`, and else one that takes less memory.

    What is rounded away grows with the values, so differences, and the tolerance, are shares of
    the largest value of an output; in float32 only where that is above one.
    """
    if not installed(mapped.provider):
        raise ParityError(f"{graph.name}: {mapped.provider} is not installed, so cannot be checked")
    counts = mapped.lowering.found(lowered)
    expected = mapped.lowering.expected(attentions)
    if counts != expected:
        raise ParityError(
            f"{graph.name}: attention ops {dict(counts) or 'none'}, the architecture states "
            f"{dict(expected)}: have every attention call models/attention.py, and state as many"
        )
    try:
        session = session_on(
            mapped.provider,
            file,
            weights,
            threads=1,
            precision=mapped.precision,
            packed=packed,
        )
    except Exception as error:  # what runs graphs has no common base for its errors
        by_itself = mapped.provider == "openvino"
        runtime = "OpenVINO" if by_itself else f"ONNX Runtime {ort.__version__}"
        raise ParityError(
            f"{graph.name}: {runtime} does not open the graph on "
            f"{mapped.provider}; if it lacks an operator, its dtype or the opset, export to "
            f"another target, or change the module: {error}"
        ) from error
    faults = violations(
        graph.contract,
        session.inputs,
        session.outputs,
        cache_dtype="float16" if mapped.precision == "float16" else "float32",
    )
    if faults:
        raise ParityError(f"{graph.name}: not what the task's contract says: {'; '.join(faults)}")
    dtypes = {name: tensor.dtype for name, tensor in session.inputs.items()}
    least = float(np.finfo(np.float32).tiny) if mapped.precision == "float16" else 1.0
    largest = 0.0
    for case in graph.cases:
        torch.manual_seed(0)
        inputs = graph.inputs(**case)
        with torch.no_grad():
            out = graph.module(*inputs.values())
        references = out if isinstance(out, tuple) else (out,)
        feed = {name: tensor.numpy().astype(dtypes[name]) for name, tensor in inputs.items()}
        answers = session.run(feed)()
        for name, reference in zip(graph.outputs, references, strict=True):
            answer = answers[name]
            difference = np.abs(reference.numpy() - answer)
            defined = graph.defined(inputs, name)
            if defined is not None:
                difference = np.where(defined.numpy(), difference, 0.0)
            worst = float(difference.max()) / max(float(reference.abs().max()), least)
            if not worst <= tolerance:  # NaN fails too
                where = tuple(int(i) for i in np.unravel_index(difference.argmax(), answer.shape))
                raise ParityError(
                    f"{graph.name}: output {name} differs by {worst:.3g} at {where} in case "
                    f"{dict(case)}; the tolerance is {tolerance:g}"
                )
            largest = max(largest, worst)
    return GraphParity(
        cases=len(graph.cases), largest_difference=largest, attention_ops=dict(counts)
    )
