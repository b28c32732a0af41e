"""one inference request of the protocol, of either transport → named arrays."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from service.compat.oip import classification
from service.compat.oip.models import Found, Model
from service.compat.oip.tensors import Given, array_of
from service.engine import Engine
from service.errors import MalformedRequest, Unsupported

RESERVED = ("sequence_id", "sequence_start", "sequence_end", "headers")
"""The protocol's own parameters that have no meaning where no request belongs to another."""
OUTPUT_PARAMETERS = {"binary_data", classification.PARAMETER}
HIGHEST = 4
"""Of the protocol's priorities 1 comes first, and 0 says nothing: 1 is our 3, 7 our -3."""


@dataclass(frozen=True)
class Asked:
    """What a client wants of a model, as it was sent."""

    id: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    inputs: Sequence[Given] = ()
    outputs: Sequence[tuple[str, Mapping[str, Any]]] = ()
    """Names wanted, with their parameters; all where there are none."""


@dataclass(frozen=True)
class Inferred:
    """What the model made of it, and the model's version."""

    version: str
    outputs: Mapping[str, NDArray[Any]]


def _whole_number(parameters: Mapping[str, Any], name: str) -> int:
    value = parameters.get(name, 0)
    if type(value) is not int or value < 0:
        raise MalformedRequest("is a whole number from 0", f"parameters.{name}")
    return value


def timeout_s(asked: Asked) -> float | None:
    """How long the client waits, if the request says so, in microseconds."""
    return _whole_number(asked.parameters, "timeout") / 1e6 or None


def _once(names: Sequence[str], what: str) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise MalformedRequest("is named twice", f"{what}.{name[:64]}")
        seen.add(name)


def _inputs(model: Model, asked: Asked, limit: int | None) -> dict[str, NDArray[Any]]:
    specs = {spec.name: spec for spec in model.inputs}
    for given in asked.inputs:
        if given.name not in specs:
            raise MalformedRequest(
                f"{model.name} takes {', '.join(specs)}", f"inputs.{given.name[:64]}"
            )
    _once([given.name for given in asked.inputs], "inputs")
    arrays = {given.name: array_of(given, specs[given.name], limit) for given in asked.inputs}
    for name in specs:
        if name not in arrays:
            raise MalformedRequest("is missing", f"inputs.{name}")
    return arrays


def _wanted(model: Model, asked: Asked) -> dict[str, int]:
    """Outputs, and how many classes of each are wanted, if any."""
    known = [spec.name for spec in model.outputs]
    for name, parameters in asked.outputs:
        if name not in known:
            raise MalformedRequest(f"{model.name} gives {', '.join(known)}", f"outputs.{name[:64]}")
        for parameter in parameters:
            if parameter not in OUTPUT_PARAMETERS:
                raise Unsupported(f"{parameter[:64]} is not supported", f"outputs.{name}")
    _once([name for name, _ in asked.outputs], "outputs")
    counts = {name: classification.count_of(name, said) for name, said in asked.outputs}
    return counts or dict.fromkeys(known, 0)


async def infer(
    engine: Engine, found: Found, asked: Asked, *, timeout_s: float | None, priority: int
) -> Inferred:
    """Check and answer a request; raises a Problem."""
    model, tag = found
    inputs = _inputs(model, asked, engine.settings.max_tensor_elements)
    wanted = _wanted(model, asked)
    own = {
        name: value
        for name, value in asked.parameters.items()
        if name not in (*RESERVED, "timeout", "priority", "binary_data_output")
        and not name.startswith("triton_")
    }
    said = _whole_number(asked.parameters, "priority")
    told = {"timeout_s": timeout_s, "priority": max(HIGHEST - said, -HIGHEST) if said else priority}
    outputs, name = await model.infer(engine, tag, inputs, own, told)
    return Inferred(
        name.rpartition(":")[2],
        {
            output: classification.best(output, outputs[output], count, model.labels)
            if count
            else outputs[output]
            for output, count in wanted.items()
        },
    )
