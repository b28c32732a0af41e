"""a graph as JSON → what is known of its nodes and who neighbours whom, as arrays.

The JSON is the node-link form that D3 and NetworkX write: nodes in a list, edges by their numbers.
"""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from jaxtyping import Bool, Float32
from numpy import ndarray
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from service.contract import Tensor
from service.errors import InvalidInput
from service.explanation import Axis, Weights, either
from service.session import Runner, rows_of

MAX_NODES, MAX_EDGES, MAX_FEATURES = 512, 20_000, 64
MAX_BATCH_COST = MAX_NODES**2
"""Pairs of nodes in one run of a model: what attention takes memory for."""
DEGREES = 2
"""Features that follow from the edges: attention is a mean, which cannot count neighbours."""

Item = dict[str, NDArray[Any]]


class Strict(BaseModel):
    """Part of a request: nothing unknown, no coercion."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Node(Strict):
    """One node."""

    features: list[Annotated[str, Field(max_length=100)]] = Field(
        default=[],
        max_length=MAX_FEATURES,
        description="What is known of it, in the model's words, as `C` of an atom; maybe nothing.",
    )


class Edge(Strict):
    """From one node to another, by their places in the list of nodes, from 0."""

    source: int = Field(ge=0, lt=MAX_NODES)
    target: int = Field(ge=0, lt=MAX_NODES)


class Graph(Strict):
    """Nodes and the edges between them. Both ends of an edge are neighbours."""

    nodes: list[Node] = Field(min_length=1, max_length=MAX_NODES)
    edges: list[Edge] = Field(default=[], max_length=MAX_EDGES)


INPUTS: Mapping[str, Tensor] = {
    "features": Tensor("float32", ("batch", "nodes", None)),
    "neighbours": Tensor("bool", ("batch", "nodes", "nodes")),
}
"""What every model of graphs takes."""
HEADS = {"heads": Tensor("float32", ("batch", None, None, "nodes", "nodes"))}
"""What every graph `attention` tells: how much each head takes of whom for each node."""
LENGTHS = Tensor("int64", ("batch",))
"""The nodes of each graph, for models that look at all of a graph: their input `lengths`."""


@dataclass(frozen=True)
class Assets:
    """The names of the classes and the features that the model knows, in their order."""

    labels: Sequence[str]
    features: Mapping[str, int]


def load_assets(folder: Path) -> Assets:
    """Read `labels.json` and `features.json`."""
    labels, features = (
        json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
        for name in ("labels", "features")
    )
    return Assets(labels, {name: number for number, name in enumerate(features)})


def links(graph: Graph) -> Bool[ndarray, "nodes nodes"]:
    """Row → column wherever there is an edge; raises InvalidInput for one that leads nowhere."""
    size = len(graph.nodes)
    found = np.zeros((size, size), bool)
    for number, edge in enumerate(graph.edges):
        if max(edge.source, edge.target) >= size:
            raise InvalidInput(f"leads beyond the {size} nodes", f"graph.edges.{number}")
        found[edge.source, edge.target] = True
    return found


def known(graph: Graph, names: Mapping[str, int]) -> Float32[ndarray, "nodes features"]:
    """1 where a node has a feature; raises InvalidInput for one that the model does not know."""
    found = np.zeros((len(graph.nodes), len(names)), np.float32)
    for number, node in enumerate(graph.nodes):
        for feature in node.features:
            if feature not in names:
                some = ", ".join([*names][:20]) or "none"
                raise InvalidInput(
                    f"{feature!r} is not among the {len(names)} features of the model: {some}",
                    f"graph.nodes.{number}.features",
                )
            found[number, names[feature]] = 1
    return found


def arrays(features: Float32[ndarray, "nodes features"], to: Bool[ndarray, "nodes nodes"]) -> Item:
    """What a model takes of one graph: the logarithms of degrees are further features."""
    degrees = np.log1p([to.sum(0), to.sum(1)]).T
    return {
        "features": np.concatenate([features, degrees], axis=1, dtype=np.float32),
        "neighbours": to | to.T,
    }


def item(graph: Graph, assets: Assets) -> Item:
    return arrays(known(graph, assets.features), links(graph))


def cost(of: Item) -> int:
    return len(of["features"]) ** 2


def stacked(items: Sequence[Item]) -> Item:
    """Graphs as one batch, each filled up to the largest with nodes that nobody neighbours.

    Raises InvalidInput for tensors of a client's own that are not of one graph.
    """
    most, wide = np.max([one["features"].shape for one in items], axis=0)
    features = np.zeros((len(items), most, wide), np.float32)
    neighbours = np.zeros((len(items), most, most), bool)
    for row, one in enumerate(items):
        size = len(one["features"])
        if one["neighbours"].shape != (size, size):
            raise InvalidInput(f"is not {size} by {size}, as there are nodes", "neighbours")
        features[row, :size] = one["features"]
        neighbours[row, :size, :size] = one["neighbours"]
    lengths = np.array([one.get("lengths", len(one["features"])) for one in items], np.int64)
    return {"features": features, "neighbours": neighbours, "lengths": lengths}


def forward(model: Runner, items: Sequence[Item], names: Collection[str]) -> list[Item]:
    """What a model makes of graphs, those of like sizes together: little of a batch is filling."""

    def run(graph: str, items: Sequence[Item]) -> list[Item]:
        rows: list[Item] = [{} for _ in items]
        left = sorted(range(len(items)), key=lambda number: -cost(items[number]))
        while left:
            together = left[: max(1, MAX_BATCH_COST // cost(items[left[0]]))]
            left = left[len(together) :]
            batch = stacked([items[number] for number in together])
            made = rows_of(model.run(graph, {name: batch[name] for name in names}))
            for number, row in zip(together, made, strict=True):
                rows[number] = row
        return rows

    return either(items, "model", run)


def maps(graph: Graph, row: Item) -> Iterator[Weights]:
    """Whom the nodes of a graph looked at, if it was asked, without what filled the batch up."""
    if "heads" not in row:
        return
    size, labels = len(graph.nodes), [" ".join(node.features) for node in graph.nodes]
    named = labels if any(labels) else []
    axes = [Axis(name=name, size=size, labels=named) for name in ("node", "neighbour")]
    over_all = row["rollout"][(slice(size),) * row["rollout"].ndim]
    yield Weights("rollout", over_all, axes[: over_all.ndim])
    yield Weights("heads", row["heads"][..., :size, :size], ["layer", "head", *axes])


def probabilities(logits: Float32[ndarray, "*axes classes"]) -> Float32[ndarray, "*axes classes"]:
    odds = np.exp(logits - logits.max(axis=-1, keepdims=True))
    shares: Float32[ndarray, "*axes classes"] = odds / odds.sum(axis=-1, keepdims=True)
    return shares
