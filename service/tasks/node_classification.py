"""graph → the most likely class of each of its nodes, as of each neuron: node classification."""

from collections.abc import Sequence

from pydantic import BaseModel, Field

from service import graphs
from service.contract import Graph, Tensor
from service.explanation import drawn
from service.graphs import Assets
from service.schema import RequestModel, ResponseModel, Score
from service.session import Runner
from service.tasks import Item, Row

RPC = "ClassifyNodes"
EXPECTED = "Kenyon cell"
MAX_BATCH_COST = graphs.MAX_BATCH_COST
load_assets, cost = graphs.load_assets, graphs.cost


class Request(RequestModel):
    """Name what each node of a graph is."""

    graph: graphs.Graph = Field(description="Nodes, and the edges between them.")


class Label(BaseModel):
    """The class of one node and how likely it is."""

    label: str
    score: Score = Field(description="Probability, 0 to 1, over all classes of the model.")


class Response(ResponseModel):
    """One label for each node, in their order."""

    nodes: list[Label]


_LOGITS = {"logits": Tensor("float32", ("batch", "nodes", None))}
CONTRACT = {
    "model": Graph(inputs=graphs.INPUTS, outputs=_LOGITS),
    "attention": Graph(
        inputs=graphs.INPUTS,
        outputs={
            **_LOGITS,
            "rollout": Tensor("float32", ("batch", "nodes", "nodes")),
            **graphs.HEADS,
        },
        aside=True,
    ),
}


def preprocess(request: Request, assets: Assets) -> list[Item]:
    return [graphs.item(request.graph, assets)]


def forward(model: Runner, assets: Assets, items: Sequence[Item]) -> list[Row]:
    """Rows are as long as their graphs, whatever others filled the batch up to."""
    rows = graphs.forward(model, items, CONTRACT["model"].inputs)
    return [
        {**row, "logits": row["logits"][: len(item["features"])]}
        for item, row in zip(items, rows, strict=True)
    ]


def postprocess(
    request: Request, assets: Assets, items: Sequence[Item], rows: Sequence[Row]
) -> Response:
    scores = graphs.probabilities(rows[0]["logits"])
    best = scores.argmax(axis=1)
    return Response(
        nodes=[
            Label(label=assets.labels[number], score=float(of[number]))
            for number, of in zip(best, scores, strict=True)
        ],
        attention=drawn(graphs.maps(request.graph, rows[0])),
    )


def example() -> Request:
    """A projection neuron, the cells that it excites, and the one that hears all of them."""
    cells = range(1, 7)
    edges = [(0, cell) for cell in cells] + [(cell, 7) for cell in cells]
    return Request(
        graph=graphs.Graph(
            nodes=[graphs.Node() for _ in range(8)],
            edges=[graphs.Edge(source=source, target=target) for source, target in edges],
        )
    )
