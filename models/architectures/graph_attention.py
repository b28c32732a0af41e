"""features of nodes, who neighbours whom → class logits of nodes or of graphs: graph attention.

Source: Veličković et al. 2018, "Graph Attention Networks": a node attends to itself and to its
neighbours. Their score is LeakyReLU(a · [W h_i, W h_j]); here it is the scaled dot product, masked
by the adjacency, in the blocks of a Transformer (Dwivedi and Bresson 2021, "A Generalization of
Transformer Networks to Graphs"). The additive score ranks neighbours alike for all that attend to
them (Brody et al. 2022, "How Attentive are Graph Attention Networks?"), the dot product does not.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional

from models.datasets import Batch
from models.explain import explaining, rollout, rollouts, watching
from models.graph import Attentions, Graph
from models.layers import EncoderLayer, keep_mask
from models.recipe import Recipe
from models.score import IGNORE, sums
from service.tasks import graph_classification, node_classification

Nodes = Float[Tensor, "batch nodes width"]
Heads = Float[Tensor, "batch layers heads nodes nodes"]
"""How much each head of each layer takes of whom for each node."""


@dataclass(frozen=True)
class Config:
    """Sizes of the model, and what it tells apart: the nodes of a graph, or whole graphs."""

    labelled: Literal["nodes", "graphs"]
    classes: int
    features: int
    """Of a node; its degrees count as two."""
    width: int
    heads: int
    hidden: int
    layers: int
    dropout: float = 0.0


PRESETS = {
    "testing": Config("graphs", classes=2, features=5, width=16, heads=2, hidden=32, layers=2),
    "neurons": Config(
        "nodes", classes=4, features=2, width=64, heads=4, hidden=128, layers=3, dropout=0.2
    ),
    "molecules": Config(
        "graphs", classes=3, features=17, width=64, heads=4, hidden=128, layers=4, dropout=0.2
    ),
}


class GraphAttention(nn.Module):
    """Nodes that look at their neighbours, layer by layer, and so at ever more of the graph."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        sizes = (config.width, config.heads, config.hidden, config.dropout)
        self.nodes = nn.Linear(config.features, config.width)
        self.layers = nn.ModuleList(EncoderLayer(*sizes) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.width)
        self.head = nn.Linear(config.width, config.classes)

    def attended(
        self,
        features: Float[Tensor, "batch nodes features"],
        neighbours: Bool[Tensor, "batch nodes nodes"],
    ) -> Nodes:
        """Every node, once it has looked around."""
        places = torch.arange(features.shape[1], device=features.device)
        mask = (neighbours | (places[:, None] == places))[:, None]
        x = self.nodes(features)
        for layer in self.layers:
            x = layer(x, mask=mask)
        seen: Nodes = self.norm(x)
        return seen


class NodeClassifier(GraphAttention):
    """Logits of every node."""

    def forward(
        self,
        features: Float[Tensor, "batch nodes features"],
        neighbours: Bool[Tensor, "batch nodes nodes"],
    ) -> Float[Tensor, "batch nodes classes"]:
        logits: Float[Tensor, "batch nodes classes"] = self.head(
            self.attended(features, neighbours)
        )
        return logits

    def explain(
        self,
        features: Float[Tensor, "batch nodes features"],
        neighbours: Bool[Tensor, "batch nodes nodes"],
    ) -> tuple[Float[Tensor, "batch nodes classes"], Float[Tensor, "batch nodes nodes"], Heads]:
        """The logits, how much of every node is in those of each, and the weights."""
        with watching(self) as layers:
            logits = self(features, neighbours)
        itself = torch.eye(features.shape[1], dtype=logits.dtype, device=logits.device)
        return logits, rollouts(layers, itself.expand_as(neighbours)), torch.stack(layers, dim=1)


class GraphClassifier(GraphAttention):
    """Logits of every graph, from the sum of its nodes: a mean would not tell how many they are."""

    def forward(
        self,
        features: Float[Tensor, "batch nodes features"],
        neighbours: Bool[Tensor, "batch nodes nodes"],
        lengths: Int[Tensor, " batch"],
    ) -> Float[Tensor, "batch classes"]:
        x = self.attended(features, neighbours)
        inside = keep_mask(lengths, x.shape[1])[:, 0, 0, :, None].to(x.dtype)
        logits: Float[Tensor, "batch classes"] = self.head((x * inside).sum(1))
        return logits

    def explain(
        self,
        features: Float[Tensor, "batch nodes features"],
        neighbours: Bool[Tensor, "batch nodes nodes"],
        lengths: Int[Tensor, " batch"],
    ) -> tuple[Float[Tensor, "batch classes"], Float[Tensor, "batch nodes"], Heads]:
        """The logits, how much of every node is in the sum that they come from, and the weights."""
        with watching(self) as layers:
            logits = self(features, neighbours, lengths)
        inside = keep_mask(lengths, features.shape[1])[:, 0, 0].to(logits.dtype)
        return logits, rollout(layers, inside / inside.sum(1, True)), torch.stack(layers, dim=1)


def build(config: Config) -> NodeClassifier | GraphClassifier:
    return NodeClassifier(config) if config.labelled == "nodes" else GraphClassifier(config)


def _logits(model: nn.Module, batch: Batch) -> Float[Tensor, "*axes classes"]:
    names = ("features", "neighbours", "lengths")
    logits: Tensor = model(*(batch[name] for name in names if name in batch))
    return logits.float()


def loss(model: nn.Module, batch: Batch) -> Float[Tensor, ""]:
    """Cross entropy over the nodes, or graphs, that have a label."""
    logits, labels = _logits(model, batch), batch["labels"]
    return functional.cross_entropy(logits.flatten(0, -2), labels.flatten(), ignore_index=IGNORE)


def score(model: nn.Module, batch: Batch) -> dict[str, float]:
    """Over the nodes, or graphs, of a dev batch that have a label."""
    return sums(_logits(model, batch), batch["labels"])


def graphs(model: NodeClassifier | GraphClassifier) -> tuple[Graph, Graph]:
    """The whole model, for graphs of any size; and with whom its nodes look at."""
    config = model.config
    of_nodes = config.labelled == "nodes"
    contracts = (node_classification if of_nodes else graph_classification).CONTRACT
    contract = contracts["model"]
    wide = replace(contract.inputs["features"], axes=("batch", "nodes", config.features))

    def inputs(batch: int, nodes: int) -> dict[str, Tensor]:
        features = torch.randn(batch, nodes, config.features)
        neighbours = torch.rand(batch, nodes, nodes) < 0.3
        lengths = torch.randint(1, nodes + 1, (batch,))
        random = {"features": features, "neighbours": neighbours | neighbours.mT}
        return random if of_nodes else {**random, "lengths": lengths}

    cases: list[Mapping[str, int]] = [
        {"batch": batch, "nodes": nodes} for batch, nodes in ((3, 7), (1, 2), (2, 40), (16, 11))
    ]
    graph = Graph(
        name="model",
        module=model,
        contract=replace(contract, inputs={**contract.inputs, "features": wide}),
        outputs=["logits"],
        inputs=inputs,
        cases=cases,
    )
    return graph, explaining(graph, contracts["attention"])


def attentions(config: Config) -> dict[str, Attentions]:
    """One per layer."""
    every = Attentions(whole=config.layers)
    return {"model": every, "attention": every}


TOLERANCE = 2e-5
RECIPES = {
    "node-classification": Recipe(
        preset="neurons",
        dataset="mushroom_body",
        data={"batch_size": 4, "kept_share": 0.8},
        steps=600,
        learning_rate=1e-3,
        decay_share=1.0,
        weight_decay=0.1,
        bf16=False,
        evaluate_every_steps=50,
    ),
    "graph-classification": Recipe(
        preset="molecules",
        dataset="solubility",
        data={"batch_size": 32},
        steps=1_500,
        learning_rate=1e-3,
        decay_share=1.0,
        weight_decay=0.1,
        bf16=False,
        evaluate_every_steps=100,
    ),
}
