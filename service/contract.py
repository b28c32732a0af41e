"""graph inputs and outputs → declared once: names, dtypes and axes that export and service share.

A name that ends in `_*` stands for one tensor per decoder layer: `past_key_*` is `past_key_0`,
`past_key_1`, and so on. Between the steps of a decoder a model may keep caches, which grow, states,
whose size is fixed, or both.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from types import EllipsisType
from typing import Any

from numpy.typing import NDArray

Arrays = Mapping[str, NDArray[Any]]
"""Tensors of one graph by name."""


@dataclass(frozen=True)
class Tensor:
    """A dtype as numpy names it, and one entry per axis: a name if it varies, a size if fixed.

    `None` is a size that belongs to the model and not to the task, such as the number of heads; at
    the end `...` stands for any number of these.
    """

    dtype: str
    axes: tuple[str | int | EllipsisType | None, ...]
    cached: bool = False
    """Keys and values: they pass between graphs only, in the dtype that the manifest states."""
    optional: bool = False
    """A model may do without."""

    def axes_of(self, rank: int) -> tuple[str | int | None, ...]:
        """The axes of a tensor of so many; more or fewer than that if it cannot be one of these."""
        stated = tuple(axis for axis in self.axes if not isinstance(axis, EllipsisType))
        more = rank - len(stated) if len(stated) < len(self.axes) else 0
        return stated + (None,) * more


@dataclass(frozen=True)
class Graph:
    """The inputs and outputs of one graph of a task."""

    inputs: Mapping[str, Tensor]
    outputs: Mapping[str, Tensor]
    aside: bool = False
    """What few requests need: a model may lack it."""


HANDED_ON = {"kept": "cross", "present": "past", "next_state": "state"}
"""What begins the name of an output of a decoding step → that of the input it continues."""
CHANGED = ("present", "next_state")
"""Without them a step would find what the one before it found."""
STATE = Tensor("float32", ("batch", ...), optional=True)
"""What a decoder knows of a row: as large after a thousand tokens as before the first."""


def encoded(src_len: str | None = "src_len") -> Mapping[str, Tensor]:
    """What an encoder gives its decoder: keys and values, and what has a fixed size.

    `context_*` stays as it is while an item is decoded, as keys and values do; `state_*` is what
    the first step starts from.
    """
    memory = Tensor("float32", ("batch", None, src_len, None), cached=True, optional=True)
    return {
        "cross_key_*": memory, "cross_value_*": memory, "context_*": STATE, "state_*": STATE,
    }  # fmt: skip


def decoding_step(source: Mapping[str, Tensor]) -> Graph:
    """The graph that every encoder-decoder has: one token a row in, logits, caches and states out.

    `source` holds the inputs that say how much of the encoder's keys and values counts. These may
    come out again as they were, so that a runtime that hands them on may bind them in place.
    """
    taken = encoded()
    memory = taken["cross_key_*"]
    cache = Tensor("float32", ("batch", None, "max_len", None), cached=True, optional=True)
    return Graph(
        inputs={
            "tokens": Tensor("int64", ("batch", 1)),
            "past_lengths": Tensor("int64", ("batch",)),
            **source,
            **taken,
            "past_key_*": cache,
            "past_value_*": cache,
        },
        outputs={
            "logits": Tensor("float32", ("batch", None)),
            "kept_key_*": memory,
            "kept_value_*": memory,
            "present_key_*": cache,
            "present_value_*": cache,
            "next_state_*": STATE,
        },
    )


def spec_of(name: str, specs: Mapping[str, Tensor]) -> Tensor | None:
    """The declaration of a tensor, with `past_key_3` found under `past_key_*`."""
    stem, _, number = name.rpartition("_")
    return specs.get(f"{stem}_*" if number.isdigit() else name)


def _side_violations(
    side: Mapping[str, Tensor], specs: Mapping[str, Tensor], cache_dtype: str
) -> list[str]:
    found, faults = set(), []
    for name, tensor in side.items():
        spec = spec_of(name, specs)
        if spec is None:
            faults.append(f"{name} is not in the contract")
            continue
        stem, _, number = name.rpartition("_")
        found.add(f"{stem}_*" if number.isdigit() else name)
        dtype = cache_dtype if spec.cached else spec.dtype
        if tensor.dtype != dtype:
            faults.append(f"{name} is {tensor.dtype}, not {dtype}")
        stated = spec.axes_of(len(tensor.axes))
        axes = [
            isinstance(size, int) if axis is None else size == axis
            for size, axis in zip(tensor.axes, stated, strict=False)
        ]
        if len(tensor.axes) != len(stated) or not all(axes):
            faults.append(f"{name} has axes {list(tensor.axes)}, not {list(spec.axes)}")
    return faults + [
        f"{name} is missing"
        for name, spec in specs.items()
        if name not in found and not spec.optional
    ]


def _broken_off(contract: Graph, inputs: Collection[str], outputs: Collection[str]) -> list[str]:
    """What a step changes and is handed on at one end only."""
    missing = []
    for output in CHANGED:
        taken = HANDED_ON[output]
        comes = [name.replace(taken, output, 1) for name in inputs if name.startswith(f"{taken}_")]
        goes = [name.replace(output, taken, 1) for name in outputs if name.startswith(f"{output}_")]
        missing += [n for n in comes if n not in outputs and spec_of(n, contract.outputs)]
        missing += [n for n in goes if n not in inputs]
    return [f"{name} is missing" for name in missing]


def violations(
    contract: Graph,
    inputs: Mapping[str, Tensor],
    outputs: Mapping[str, Tensor],
    *,
    cache_dtype: str = "float32",
) -> list[str]:
    """Everything in which a graph differs from its contract; empty when it fits."""
    return [
        *_side_violations(inputs, contract.inputs, cache_dtype),
        *_side_violations(outputs, contract.outputs, cache_dtype),
        *_broken_off(contract, inputs, outputs),
    ]
