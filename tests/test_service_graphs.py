"""Graphs of requests: what is known of their nodes, who neighbours whom, and what is refused."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from service import graphs
from service.errors import InvalidInput
from service.explanation import drawn
from service.tasks import graph_classification, node_classification

ASSETS = graphs.Assets(["acid", "base"], {"C": 0, "O": 1})


def graph(*features: str, edges: list[tuple[int, int]] | None = None) -> graphs.Graph:
    return graphs.Graph(
        nodes=[graphs.Node(features=list(each)) for each in features],
        edges=[graphs.Edge(source=a, target=b) for a, b in edges or []],
    )


class Counting:
    """A model whose logits are how many nodes and neighbours it was given."""

    def __init__(self, of_nodes: bool) -> None:
        self.of_nodes = of_nodes
        self.shapes: list[tuple[int, ...]] = []

    def tensors(self, graph: str) -> Any:
        raise NotImplementedError

    def bind(self, graph: str, inputs: Any, outputs: Any) -> Any:
        raise NotImplementedError

    def run(self, graph: str, inputs: Mapping[str, Any]) -> dict[str, Any]:
        self.shapes.append(inputs["neighbours"].shape)
        neighbours = inputs["neighbours"].sum(2, dtype=np.float32)
        if self.of_nodes:
            return {"logits": np.stack([neighbours, 1 - neighbours], axis=2)}
        lengths = inputs["lengths"].astype(np.float32)
        return {"logits": np.stack([lengths, neighbours.sum(1)], axis=1)}


def test_nodes_have_their_features_and_the_logarithms_of_their_degrees() -> None:
    made = graphs.item(graph("C", "CO", "", edges=[(0, 1), (0, 2)]), ASSETS)
    assert made["features"][:, :2].tolist() == [[1, 0], [1, 1], [0, 0]]
    into, out = np.expm1(made["features"][:, 2:]).T
    assert into.tolist() == pytest.approx([0, 1, 1])
    assert out.tolist() == pytest.approx([2, 0, 0])


def test_both_ends_of_an_edge_are_neighbours() -> None:
    made = graphs.item(graph("", "", "", edges=[(0, 2), (1, 1)]), ASSETS)
    assert made["neighbours"].astype(int).tolist() == [[0, 0, 1], [0, 1, 0], [1, 0, 0]]


def test_an_edge_that_leads_nowhere_is_refused_by_its_place() -> None:
    with pytest.raises(InvalidInput, match=r"graph\.edges\.1: leads beyond the 2 nodes"):
        graphs.item(graph("", "", edges=[(0, 1), (1, 2)]), ASSETS)


def test_a_feature_that_the_model_does_not_know_is_refused_by_its_place() -> None:
    with pytest.raises(InvalidInput, match=r"graph\.nodes\.1\.features: 'N' is not among the 2"):
        graphs.item(graph("C", "N"), ASSETS)


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        ({"nodes": []}, "nodes"),
        ({"nodes": [{}] * (graphs.MAX_NODES + 1)}, "nodes"),
        ({"nodes": [{}], "edges": [{"source": 0, "target": -1}]}, "edges.0.target"),
        ({"nodes": [{}], "edges": [{"source": 0}]}, "edges.0.target"),
        ({"nodes": [{"features": ["C"] * 65}]}, "nodes.0.features"),
        ({"nodes": [{"colour": "red"}]}, "nodes.0.colour"),
        ({"nodes": [{}], "directed": True}, "directed"),
    ],
)
def test_a_graph_beyond_its_limits_is_refused_by_place(fields: Any, place: str) -> None:
    with pytest.raises(ValidationError) as caught:
        graph_classification.Request.model_validate({"graph": fields})
    (error,) = caught.value.errors()
    assert ".".join(map(str, error["loc"])) == f"graph.{place}"


def test_graphs_of_like_sizes_are_run_together_and_keep_their_order() -> None:
    sizes = [3, 400, 5, 380, 3, 2]
    items = [graphs.item(graph(*[""] * size), ASSETS) for size in sizes]
    model = Counting(of_nodes=False)
    rows = graphs.forward(model, items, graph_classification.CONTRACT["model"].inputs)
    assert [row["logits"][0] for row in rows] == sizes
    assert all(np.prod(shape) <= graphs.MAX_BATCH_COST for shape in model.shapes)
    assert len(model.shapes) == 3


def test_a_node_has_its_own_row_whatever_the_batch_was_filled_up_to() -> None:
    small, large = graph("", "", edges=[(0, 1)]), graph(*[""] * 5)
    requests = [node_classification.Request(graph=each) for each in (small, large)]
    items = [node_classification.preprocess(each, ASSETS)[0] for each in requests]
    rows = node_classification.forward(Counting(of_nodes=True), ASSETS, items)
    answers = [
        node_classification.postprocess(request, ASSETS, [item], [row])
        for request, item, row in zip(requests, items, rows, strict=True)
    ]
    assert [[one.label for one in answer.nodes] for answer in answers] == [
        ["acid", "acid"], ["base"] * 5,
    ]  # fmt: skip


def test_a_graph_gets_its_likeliest_classes() -> None:
    request = graph_classification.Request(graph=graph("", "", "", edges=[(0, 1)]), top_k=1)
    items = graph_classification.preprocess(request, ASSETS)
    rows = graph_classification.forward(Counting(of_nodes=False), ASSETS, items)
    answer = graph_classification.postprocess(request, ASSETS, items, rows)
    assert [one.label for one in answer.labels] == ["acid"]
    assert answer.labels[0].score == pytest.approx(1 / (1 + np.exp(-1)), abs=1e-6)


def test_tensors_of_a_client_have_to_be_of_one_graph() -> None:
    made = graphs.item(graph("", ""), ASSETS)
    with pytest.raises(InvalidInput, match="neighbours: is not 2 by 2"):
        graphs.stacked([{**made, "neighbours": np.ones((3, 3), bool)}])


def test_labels_and_features_are_read_from_the_models_folder(tmp_path: Path) -> None:
    (tmp_path / "labels.json").write_text('["acid", "base"]')
    (tmp_path / "features.json").write_text('["C", "O"]')
    assert graphs.load_assets(tmp_path) == ASSETS


def test_maps_are_of_the_graphs_own_nodes_and_name_them() -> None:
    asked = graph("C", "CO", "", edges=[(0, 1)])
    row = {
        "rollout": np.arange(25.0).reshape(5, 5),
        "heads": np.arange(100.0).reshape(2, 2, 5, 5),
    }
    over_all, heads = drawn(graphs.maps(asked, row))
    assert [axis.labels for axis in over_all.axes] == [["C", "C O", ""]] * 2
    assert over_all.weights == [0, 1, 2, 5, 6, 7, 10, 11, 12]
    assert [axis.name for axis in heads.axes] == ["layer", "head", "node", "neighbour"]
    (of_graph, _) = drawn(graphs.maps(graph("", ""), {**row, "rollout": np.arange(5.0)}))
    assert (of_graph.weights, of_graph.axes[0].labels) == ([0, 1], [])
    assert list(graphs.maps(asked, {"logits": np.zeros(2)})) == []
