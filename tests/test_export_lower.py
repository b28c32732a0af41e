"""Every use of attention becomes one op of the target, and that op computes the same."""

from pathlib import Path

import onnx
import onnx_ir as ir
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from export.parity import check
from export.publish import split_weights
from export.targets import TARGETS
from export.trace import trace
from models.attention import attend, attend_cached
from models.graph import Attentions, Graph
from service.contract import Graph as Contract
from service.contract import Tensor as Spec

HEADS, HEAD_DIM, MAX_LEN = 2, 8, 9
ATTENTIONS = Attentions(plain=6, cached=1)


def projected(width: int) -> nn.Linear:
    return nn.Linear(width, width)


class EveryUse(nn.Module):
    """Attention without a mask, causal, masked by key, by query, by head, and over a cache."""

    def __init__(self) -> None:
        super().__init__()
        width = HEADS * HEAD_DIM
        self.query, self.key, self.value = projected(width), projected(width), projected(width)

    def heads(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (HEADS, HEAD_DIM)).transpose(1, 2)

    def forward(
        self, x: Tensor, keep: Tensor, past_lengths: Tensor, past_key: Tensor, past_value: Tensor
    ) -> tuple[Tensor, ...]:
        qkv = [self.heads(of(x)) for of in (self.query, self.key, self.value)]
        kept = keep[:, None, None, :] > 0
        diagonal = torch.eye(x.shape[1])[None, None] > 0
        per_query = kept | diagonal
        per_head = per_query.expand(-1, HEADS, -1, -1)
        cached, present_key, present_value = attend_cached(
            *(of[:, :, :1] for of in qkv),
            past_key=past_key,
            past_value=past_value,
            past_lengths=past_lengths,
        )
        return (
            attend(*qkv),
            attend(*qkv, causal=True),
            attend(*qkv, mask=kept),
            attend(*qkv, mask=per_query),
            attend(*qkv, mask=per_head),
            functional.scaled_dot_product_attention(*qkv, scale=0.9),
            cached,
            present_key,
            present_value,
        )


ATTENDED = ("all", "causal", "by_key", "by_query", "by_head", "scaled")
OUTPUTS = (*ATTENDED, "cached", "new_key", "new_value")


def inputs(batch: int, length: int) -> dict[str, Tensor]:
    keep = torch.randint(2, (batch, length))
    keep[:, 0] = 1
    past = torch.zeros(batch, HEADS, MAX_LEN, HEAD_DIM)
    return {
        "x": torch.randn(batch, length, HEADS * HEAD_DIM),
        "keep": keep,
        "past_lengths": torch.arange(batch) % MAX_LEN,
        "past_key": past + torch.randn(HEAD_DIM),
        "past_value": past + torch.randn(HEAD_DIM),
    }


def written(given: dict[str, Tensor], output: str) -> Tensor | None:
    if not output.startswith("new_"):
        return None
    return (torch.arange(MAX_LEN) <= given["past_lengths"][:, None])[:, None, :, None]


def every_use() -> Graph:
    torch.manual_seed(0)
    cache = Spec("float32", ("batch", None, None, None))
    heads = Spec("float32", ("batch", None, "length", None))
    return Graph(
        name="every_use",
        module=EveryUse(),
        contract=Contract(
            inputs={
                "x": Spec("float32", ("batch", "length", None)),
                "keep": Spec("int64", ("batch", "length")),
                "past_lengths": Spec("int64", ("batch",)),
                "past_key": cache,
                "past_value": cache,
            },
            outputs=dict.fromkeys(OUTPUTS, cache) | dict.fromkeys(ATTENDED, heads),
        ),
        outputs=OUTPUTS,
        inputs=inputs,
        cases=[{"batch": 3, "length": 5}, {"batch": 1, "length": 1}, {"batch": 2, "length": 17}],
        defined=written,  # type: ignore[arg-type]
    )


@pytest.mark.parametrize("target", TARGETS)
def test_every_use_of_attention_is_lowered_and_computes_the_same(
    target: str, tmp_path: Path
) -> None:
    graph, lowering = every_use(), TARGETS[target]
    lowered = trace(graph, lowering)
    assert "Softmax" not in {node.op_type for node in lowered.graph}
    proto, weights = split_weights(lowered, {})
    onnx.save(proto, tmp_path / "graph.onnx")
    parity = check(
        graph,
        lowered,
        file=tmp_path / "graph.onnx",
        weights=weights,
        lowering=lowering,
        attentions=ATTENTIONS,
        tolerance=1e-5,
    )
    assert parity.cases == 3
    assert [str(value.name) for value in lowered.graph.inputs] == list(graph.contract.inputs)
    assert list(lowered.graph.inputs[0].shape or ())[:2] == ["batch", "length"]
    assert all(not node.metadata_props for node in lowered.graph)


def test_an_op_of_another_target_does_not_count() -> None:
    nodes = [ir.Node("", "Attention", []), ir.Node("com.microsoft", "MultiHeadAttention", [])]
    model = ir.Model(ir.Graph([], [], nodes=nodes), ir_version=10)
    assert TARGETS["cpu"].found(model) == {"MultiHeadAttention": 1}
    assert TARGETS["onnx"].found(model) == {"Attention": 1}


def test_attentions_of_one_op_are_counted_together() -> None:
    attentions = Attentions(plain=3, cached=2)
    cpu = {"MultiHeadAttention": 3, "GroupQueryAttention": 2}
    assert TARGETS["cpu"].expected(attentions) == cpu
    assert TARGETS["cpu"].expected(Attentions(plain=1)) == {"MultiHeadAttention": 1}
    assert TARGETS["onnx"].expected(attentions) == {"Attention": 5}


def test_attention_that_would_lose_its_dropout_is_refused() -> None:
    translate = TARGETS["cpu"].table[torch.ops.aten.scaled_dot_product_attention.default]
    with pytest.raises(NotImplementedError, match="dropout"):
        translate(None, None, None, dropout_p=0.1)
