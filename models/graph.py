"""trained module → what is exported: one graph with named inputs, outputs and parity cases."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor, nn

from models.layers import keep_mask
from service.contract import HANDED_ON
from service.contract import Graph as Contract


@dataclass(frozen=True)
class Attentions:
    """How often a graph attends; each call must become one op of the target."""

    whole: int = 0
    """Calls of `attend`: over whole sequences, as in an encoder."""
    cached: int = 0
    """Calls of `attend_cached` and `attend_memory`: a decoding step, to the past, to the source."""
    additive: int = 0
    """Softmaxes that weigh values without any of these, in a decoding step: no target has an op for
    scores that are no product, so they stay what they are."""


@dataclass(frozen=True)
class Graph:
    """One graph of an architecture.

    `module` is called with the inputs in the order of `inputs(...)` and returns one tensor or a
    tuple in the order of `outputs`. `inputs(**case)` makes random inputs; the first case is traced,
    and the exported graph must agree with the module on all of them, wherever `defined` says that
    an output has a meaning (a cache has none beyond a row's length).
    """

    name: str
    module: nn.Module
    contract: Contract
    outputs: Sequence[str]
    inputs: Callable[..., dict[str, Tensor]]
    cases: Sequence[Mapping[str, int]]
    defined: Callable[[Mapping[str, Tensor], str], Tensor | None] = lambda inputs, output: None
    """Inputs and output name → mask that broadcasts to the output; None where all of it counts."""


def classifier(
    model: nn.Module, contract: Contract, name: str, axes: Sequence[int], batches: Sequence[int]
) -> tuple[Graph]:
    """The only graph of a classifier: a batch of `name`, each of these axes → its logits.

    The first of the sizes in `batches` is traced.
    """
    tensor = replace(contract.inputs[name], axes=("batch", *axes))

    def inputs(batch: int) -> dict[str, Tensor]:
        return {name: torch.randn(batch, *axes)}

    return (
        Graph(
            name="model",
            module=model,
            contract=replace(contract, inputs={name: tensor}),
            outputs=["logits"],
            inputs=inputs,
            cases=[{"batch": batch} for batch in batches],
        ),
    )


def mixed_lengths(batch: int, longest: int) -> Tensor:
    """Of the rows of a case: the first is full, the others end earlier."""
    return torch.tensor([max(1, longest - 3 * row) for row in range(batch)])


def written_cache(inputs: Mapping[str, Tensor], output: str) -> Tensor | None:
    """`defined` of a decoding step: caches to what is just written, memories to their lengths."""
    kind, _, layer = output.partition("_")
    if kind == "present":
        lengths = inputs["past_lengths"] + 1
    elif kind == "kept" and "source_lengths" in inputs:
        lengths = inputs["source_lengths"]
    else:
        return None
    return keep_mask(lengths, inputs[f"{HANDED_ON[kind]}_{layer}"].shape[2]).transpose(2, 3)


class HeadSizes(Protocol):
    """What the config of everything that attends states."""

    @property
    def heads(self) -> int: ...
    @property
    def width(self) -> int: ...


class DecoderSizes(HeadSizes, Protocol):
    """What the config of every decoder states."""

    @property
    def decoder_layers(self) -> int: ...


def head_dim(of: HeadSizes) -> int:
    """Width over heads, unless the config states another."""
    stated: int | None = getattr(of, "head_dim", None)
    return stated or of.width // of.heads


def decoding_step_inputs(
    of: DecoderSizes, *, batch: int, src_len: int, max_len: int
) -> dict[str, Tensor]:
    """Random cross-attention keys and values and caches of every decoder layer, by input name."""
    return {
        f"{kind}_{name}": torch.randn(batch, of.heads, length, head_dim(of))
        for kind, length in {"cross": src_len, "past": max_len}.items()
        for name in layer_names(of.decoder_layers)
    }


def decoding_step_outputs(names: Sequence[str]) -> list[str]:
    """Logits, and of each layer the memory as it was and the caches after the step."""
    return ["logits", *(f"{kind}_{name}" for kind in ("kept", "present") for name in names)]


def layer_names(layers: int) -> list[str]:
    """key_0, value_0, key_1, ...: what the names of a decoder's tensors end in."""
    return [f"{part}_{layer}" for layer in range(layers) for part in ("key", "value")]
