"""Graph attention: nodes see their neighbours and nothing else, in whatever order they come."""

from dataclasses import replace

import pytest
import torch

from models.architectures import graph_attention
from models.score import IGNORE

GRAPHS = graph_attention.PRESETS["testing"]
NODES = replace(GRAPHS, labelled="nodes", classes=3)
both = pytest.mark.parametrize("config", [NODES, GRAPHS], ids=["nodes", "graphs"])


def chain(size: int) -> torch.Tensor:
    """Each node beside the next."""
    places = torch.arange(size)
    return ((places[:, None] - places).abs() == 1)[None]


def test_a_node_sees_as_far_as_there_are_layers() -> None:
    model = graph_attention.build(NODES).eval()
    features = torch.randn(1, 6, 5)
    changed = features.clone()
    changed[0, 5] += 1
    apart = (model(features, chain(6)) - model(changed, chain(6))).abs().amax(2)[0]
    assert (apart[:3] == 0).all(), "two layers reach two nodes far"
    assert (apart[3:] > 1e-6).all()


def test_the_order_of_the_nodes_says_nothing() -> None:
    features, neighbours = torch.randn(1, 7, 5), chain(7)
    order = torch.randperm(7)
    shuffled = neighbours[:, order][:, :, order]
    of_nodes = graph_attention.build(NODES).eval()
    there = of_nodes(features[:, order], shuffled)
    torch.testing.assert_close(there, of_nodes(features, neighbours)[:, order])
    of_graphs, lengths = graph_attention.build(GRAPHS).eval(), torch.tensor([7])
    torch.testing.assert_close(
        of_graphs(features[:, order], shuffled, lengths), of_graphs(features, neighbours, lengths)
    )


def test_what_fills_a_batch_up_changes_nothing() -> None:
    model = graph_attention.build(GRAPHS).eval()
    features, neighbours, lengths = torch.randn(1, 4, 5), chain(4), torch.tensor([4])
    filled = torch.randn(1, 9, 5)
    filled[:, :4] = features
    around = torch.zeros(1, 9, 9, dtype=torch.bool)
    around[:, :4, :4] = neighbours
    torch.testing.assert_close(model(filled, around, lengths), model(features, neighbours, lengths))


def test_nodes_without_a_label_do_not_count() -> None:
    model = graph_attention.build(NODES).eval()
    batch = {"features": torch.randn(1, 4, 5), "neighbours": chain(4)}
    some = torch.tensor([[2, IGNORE, 0, IGNORE]])
    with torch.no_grad():
        assert graph_attention.score(model, {**batch, "labels": some})["count"] == 2
    lost = graph_attention.loss(model, {**batch, "labels": some})
    logits = model(**batch)[0]
    wanted = torch.nn.functional.cross_entropy(logits[[0, 2]], torch.tensor([2, 0]))
    torch.testing.assert_close(lost, wanted)


@torch.inference_mode()
def test_a_node_tells_whom_it_looked_at_and_how_far() -> None:
    model = graph_attention.build(NODES).eval()
    features, neighbours = torch.randn(1, 6, 5), chain(6)
    logits, over_all, heads = model.explain(features, neighbours)
    torch.testing.assert_close(logits, model(features, neighbours))
    beside = (neighbours | torch.eye(6, dtype=torch.bool)).expand_as(heads)
    assert torch.equal(heads > 0, beside), "weights are for neighbours and for nobody else"
    torch.testing.assert_close(heads.sum(-1), torch.ones(1, 2, 2, 6))
    flow = torch.eye(6)
    for weights in heads[0].mean(1):
        flow = (torch.eye(6) + weights) / 2 @ flow
    torch.testing.assert_close(over_all[0], flow)
    assert torch.equal(over_all[0] > 0, chain(6)[0].float().matrix_power(2) + beside[0, 0, 0] > 0)


@torch.inference_mode()
def test_the_shares_of_a_graph_are_those_of_the_mean_of_its_nodes() -> None:
    of_nodes, of_graphs = graph_attention.build(NODES), graph_attention.build(GRAPHS)
    shared = {name: tensor for name, tensor in of_nodes.state_dict().items() if "head." not in name}
    of_graphs.load_state_dict(shared, strict=False)
    features = torch.randn(1, 6, 5)
    neighbours = chain(6)
    neighbours[:, 4:], neighbours[:, :, 4:] = False, False
    _, by_node, _ = of_nodes.eval().explain(features, neighbours)
    logits, over_all, heads = of_graphs.eval().explain(features, neighbours, torch.tensor([4]))
    torch.testing.assert_close(logits, of_graphs(features, neighbours, torch.tensor([4])))
    torch.testing.assert_close(over_all, by_node[:, :4].mean(1))
    assert over_all[0, 4:].tolist() == [0, 0]
    torch.testing.assert_close(over_all.sum(1), torch.ones(1))
    assert heads.shape == (1, 2, 2, 6, 6)


@both
def test_the_graph_keeps_its_contract(config: graph_attention.Config) -> None:
    model = graph_attention.build(config).eval()
    graph, _ = graph_attention.graphs(model)
    for case in graph.cases:
        inputs = graph.inputs(**case)
        assert list(inputs) == list(graph.contract.inputs)
        nodes = (case["nodes"],) if config.labelled == "nodes" else ()
        shape = (case["batch"], *nodes, config.classes)
        assert graph.module(*inputs.values()).shape == shape
