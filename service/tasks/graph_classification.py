"""graph → its most likely classes with their probabilities, as of a molecule: graph classification.

What the nodes' features are called is a matter of the model: for molecules, symbols of elements.
"""

from collections.abc import Sequence

import numpy as np
from pydantic import BaseModel, Field

from service import graphs
from service.contract import Graph, Tensor
from service.explanation import drawn
from service.graphs import Assets
from service.schema import RequestModel, ResponseModel, Score
from service.session import Runner
from service.tasks import Item, Row

RPC = "ClassifyGraph"
EXPECTED = "high"
MAX_BATCH_COST = graphs.MAX_BATCH_COST
load_assets, cost = graphs.load_assets, graphs.cost


class Request(RequestModel):
    """Name what a graph is."""

    graph: graphs.Graph = Field(description="Nodes, and the edges between them.")
    top_k: int = Field(default=5, ge=1, le=100, description="Classes wanted, the likeliest first.")


class Label(BaseModel):
    """One class and how likely it is."""

    label: str
    score: Score = Field(description="Probability, 0 to 1, over all classes of the model.")


class Response(ResponseModel):
    """The likeliest classes, surest first; fewer than `top_k` if the model knows fewer."""

    labels: list[Label]


_INPUTS = {**graphs.INPUTS, "lengths": graphs.LENGTHS}
_LOGITS = {"logits": Tensor("float32", ("batch", None))}
CONTRACT = {
    "model": Graph(inputs=_INPUTS, outputs=_LOGITS),
    "attention": Graph(
        inputs=_INPUTS,
        outputs={**_LOGITS, "rollout": Tensor("float32", ("batch", "nodes")), **graphs.HEADS},
        aside=True,
    ),
}


def preprocess(request: Request, assets: Assets) -> list[Item]:
    return [graphs.item(request.graph, assets)]


def forward(model: Runner, assets: Assets, items: Sequence[Item]) -> list[Row]:
    return graphs.forward(model, items, CONTRACT["model"].inputs)


def postprocess(
    request: Request, assets: Assets, items: Sequence[Item], rows: Sequence[Row]
) -> Response:
    scores = graphs.probabilities(rows[0]["logits"])
    best = np.argsort(-scores, kind="stable")[: request.top_k]
    return Response(
        labels=[Label(label=assets.labels[i], score=float(scores[i])) for i in best],
        attention=drawn(graphs.maps(request.graph, rows[0])),
    )


def example() -> Request:
    """Ethanol."""
    atoms = [graphs.Node(features=[symbol]) for symbol in ("C", "C", "O")]
    bonds = [graphs.Edge(source=0, target=1), graphs.Edge(source=1, target=2)]
    return Request(graph=graphs.Graph(nodes=atoms, edges=bonds))
