"""graph inputs and outputs → declared once: names, dtypes and axes that export and service share.

A name that ends in `_*` stands for one tensor per decoder layer: `past_key_*` is `past_key_0`,
`past_key_1`, and so on.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Tensor:
    """A dtype as numpy names it, and one entry per axis: a name if it varies, a size if fixed.

    `None` is a size that belongs to the model and not to the task, such as the number of heads.
    """

    dtype: str
    axes: tuple[str | int | None, ...]
    cached: bool = False
    """Keys and values: they pass between graphs only, in the dtype that the manifest states."""


@dataclass(frozen=True)
class Graph:
    """The inputs and outputs of one graph of a task."""

    inputs: Mapping[str, Tensor]
    outputs: Mapping[str, Tensor]
    aside: bool = False
    """What few requests need: a model may lack it."""


HANDED_ON = {"kept": "cross", "present": "past"}
"""What begins the name of an output of a decoding step → that of the input it continues."""


def decoding_step(source: Mapping[str, Tensor]) -> Graph:
    """The graph that every encoder-decoder has: one token a row in, logits and caches out.

    `source` holds the inputs that say how much of the encoder's keys and values counts. These come
    out again as they were, so that a runtime that hands them on may bind them in place.
    """
    memory = Tensor("float32", ("batch", None, "src_len", None), cached=True)
    cache = Tensor("float32", ("batch", None, "max_len", None), cached=True)
    return Graph(
        inputs={
            "tokens": Tensor("int64", ("batch", 1)),
            "past_lengths": Tensor("int64", ("batch",)),
            **source,
            "cross_key_*": memory,
            "cross_value_*": memory,
            "past_key_*": cache,
            "past_value_*": cache,
        },
        outputs={
            "logits": Tensor("float32", ("batch", None)),
            "kept_key_*": memory,
            "kept_value_*": memory,
            "present_key_*": cache,
            "present_value_*": cache,
        },
    )


class Node(Protocol):
    """What ONNX Runtime tells of one input or output."""

    name: str
    type: str
    shape: list[str | int]


ORT_TYPES = {
    "tensor(int64)": "int64",
    "tensor(int32)": "int32",
    "tensor(int8)": "int8",
    "tensor(float16)": "float16",
    "tensor(float)": "float32",
}


def described(node: Node) -> Tensor:
    """What ONNX Runtime tells of a tensor, in our words; a type of another kind stays as it is."""
    return Tensor(ORT_TYPES.get(node.type, node.type), tuple(node.shape))


def spec_of(name: str, specs: Mapping[str, Tensor]) -> Tensor | None:
    """The declaration of a tensor, with `past_key_3` found under `past_key_*`."""
    stem, _, number = name.rpartition("_")
    return specs.get(f"{stem}_*" if number.isdigit() else name)


def _side_violations(
    nodes: Iterable[Node], specs: Mapping[str, Tensor], cache_dtype: str
) -> list[str]:
    found, faults = set(), []
    for node in nodes:
        spec = spec_of(node.name, specs)
        if spec is None:
            faults.append(f"{node.name} is not in the contract")
            continue
        stem, _, number = node.name.rpartition("_")
        found.add(f"{stem}_*" if number.isdigit() else node.name)
        dtype = cache_dtype if spec.cached else spec.dtype
        if described(node).dtype != dtype:
            faults.append(f"{node.name} is {node.type}, not {dtype}")
        axes = [
            isinstance(size, int) if axis is None else size == axis
            for size, axis in zip(node.shape, spec.axes, strict=False)
        ]
        if len(node.shape) != len(spec.axes) or not all(axes):
            faults.append(f"{node.name} has axes {node.shape}, not {list(spec.axes)}")
    return faults + [f"{name} is missing" for name in specs if name not in found]


def violations(
    contract: Graph,
    inputs: Iterable[Node],
    outputs: Iterable[Node],
    *,
    cache_dtype: str = "float32",
) -> list[str]:
    """Everything in which a graph differs from its contract; empty when it fits."""
    return [
        *_side_violations(inputs, contract.inputs, cache_dtype),
        *_side_violations(outputs, contract.outputs, cache_dtype),
    ]
