"""module → the weights of its attentions while it runs, what they say, and the graph that tells it.

An attention is a module with a method `attention_weights`, which takes what its `forward` takes. An
architecture explains itself by a method `explain`, which takes what its graph takes and returns
what the task's CONTRACT says of the graph `attention`. The other graphs know nothing of either.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from models.graph import Graph, mixed_lengths
from service.contract import Graph as Contract
from service.explanation import GRAPH

Layers = Sequence[Float[Tensor, "batch heads positions positions"]]
Shares = Float[Tensor, "batch positions"]
"""How much of each position is in one vector."""
SharesOfMany = Float[Tensor, "batch vectors positions"]


@runtime_checkable
class Attention(Protocol):
    """A module that can say what it attends to."""

    def attention_weights(self, *inputs: Any, **named: Any) -> Tensor: ...


@contextmanager
def watching(model: nn.Module, kind: type = Attention) -> Iterator[list[Tensor]]:
    """The weights of every attention of this kind below a module, call by call, while it runs."""
    seen: list[Tensor] = []

    def note(attention: Any, inputs: tuple[Any, ...], named: dict[str, Any], _: Any) -> None:
        seen.append(attention.attention_weights(*inputs, **named))

    hooks = [
        module.register_forward_hook(note, with_kwargs=True)
        for module in model.modules()
        if isinstance(module, kind)
    ]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def rollouts(layers: Layers, read: SharesOfMany) -> SharesOfMany:
    """How much of each position of the input is in vectors read from the last layer's output.

    Attention rollout (Abnar and Zuidema 2020, "Quantifying Attention Flow in Transformers",
    equation 1), from the top down: a layer passes on half of a position, by its residual
    connection, and half of what its heads attend to in the mean.
    """
    for weights in reversed(layers):
        read = (read + read @ weights.mean(dim=1)) / 2
    return read


def rollout(layers: Layers, read: Shares) -> Shares:
    """`rollouts` of a single vector."""
    return rollouts(layers, read[:, None])[:, 0]


def by_head(layers: Layers, read: Shares) -> Float[Tensor, "batch layers heads positions"]:
    """What each head attends to at the positions that are read, by how much of them is."""
    return (read[:, None, None, None] @ torch.stack(list(layers), dim=1)).squeeze(-2)


def mean_of_first(count: int, layers: Layers) -> Shares:
    """The shares of a vector that is the mean of the first positions of the last layer's output."""
    batch, _, positions, _ = layers[-1].shape
    return (torch.arange(positions) < count).to(layers[-1].dtype).expand(batch, -1) / count


class _Explaining(nn.Module):
    """The graph `attention` of a model."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, *inputs: Tensor) -> Tensor | tuple[Tensor, ...]:
        out: Tensor | tuple[Tensor, ...] = self.model.explain(*inputs)  # type: ignore[operator]
        return out


def explaining(graph: Graph, contract: Contract) -> Graph:
    """The graph of a classifier → the one that takes the same and tells its attention too."""
    return replace(
        graph,
        name=GRAPH,
        module=_Explaining(graph.module),
        contract=replace(contract, inputs=graph.contract.inputs),
        outputs=list(contract.outputs),
    )


def aligning(
    model: nn.Module,
    contract: Contract,
    *,
    source_vocab: int,
    vocab: int,
    outputs: Sequence[str] = ("weights",),
) -> Graph:
    """What tells where an encoder-decoder of tokens attends in a source, target token by token."""

    def inputs(batch: int, src_len: int, tgt_len: int) -> dict[str, Tensor]:
        return {
            "source": torch.randint(source_vocab, (batch, src_len)),
            "source_lengths": mixed_lengths(batch, src_len),
            "tokens": torch.randint(vocab, (batch, tgt_len)),
        }

    cases: Sequence[Mapping[str, int]] = (
        {"batch": 3, "src_len": 11, "tgt_len": 7},
        {"batch": 1, "src_len": 1, "tgt_len": 1},
        {"batch": 2, "src_len": 5, "tgt_len": 12},
    )
    return Graph(GRAPH, _Explaining(model), contract, outputs, inputs, cases)
