"""Every use of attention becomes one op of the target, and that op computes the same."""

from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import onnx
import onnx_ir as ir
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from export import contrib_attention, float16, plain_attention, standard_attention
from export.float16 import in_float16
from export.lower import Lowering
from export.parity import check
from export.publish import split_weights
from export.targets import Mapped
from export.trace import trace
from models.attention import attend, attend_cached, attend_memory
from models.graph import Attentions, Graph
from service.contract import Graph as Contract
from service.contract import Tensor as Spec

HEADS, HEAD_DIM, MAX_LEN = 2, 8, 9
ATTENTIONS = Attentions(whole=7, cached=2)
LOWERINGS = {
    "contrib": contrib_attention.LOWERING,
    "standard": standard_attention.LOWERING,
    "plain": plain_attention.LOWERING,
}


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
        first = [of(x)[:, :1] for of in (self.query, self.key, self.value)]
        cached, present_key, present_value = attend_cached(
            torch.cat(first, -1),
            past_key=past_key,
            past_value=past_value,
            past_lengths=past_lengths,
        )
        remembered, kept_key, kept_value = attend_memory(
            first[0], key=past_key, value=past_value, lengths=past_lengths + 1
        )
        return (
            attend(*qkv),
            attend(*qkv, causal=True),
            attend(*qkv, mask=kept),
            attend(*qkv, mask=per_query),
            attend(*qkv, mask=per_head),
            attend(*qkv, mask=keep[:1, None, None].to(x.dtype)),
            functional.scaled_dot_product_attention(*qkv, scale=0.9),
            cached,
            present_key,
            present_value,
            remembered,
            kept_key,
            kept_value,
        )


ATTENDED = ("all", "causal", "by_key", "by_query", "by_head", "added", "scaled")
STEPPED = ("cached", "remembered")
CACHES = ("new_key", "new_value"), ("kept_key", "kept_value")
OUTPUTS = (*ATTENDED, "cached", *CACHES[0], "remembered", *CACHES[1])


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
    if not output.startswith(("new_", "kept_")):
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
            outputs=dict.fromkeys(OUTPUTS, cache)
            | dict.fromkeys(ATTENDED, heads)
            | dict.fromkeys(STEPPED, Spec("float32", ("batch", 1, None))),
        ),
        outputs=OUTPUTS,
        inputs=inputs,
        cases=[{"batch": 3, "length": 5}, {"batch": 1, "length": 1}, {"batch": 2, "length": 17}],
        defined=written,  # type: ignore[arg-type]
    )


@pytest.mark.parametrize("lowering", LOWERINGS.values(), ids=LOWERINGS)
def test_every_use_of_attention_is_lowered_and_computes_the_same(
    lowering: Lowering, tmp_path: Path
) -> None:
    graph = every_use()
    lowered = trace(graph, lowering)
    softmax = sum(node.op_type == "Softmax" for node in lowered.graph)
    assert softmax == (9 if lowering is plain_attention.LOWERING else 0)
    proto, weights = split_weights(lowered, {})
    onnx.save(proto, tmp_path / "graph.onnx")
    parity = check(
        graph,
        lowered,
        file=tmp_path / "graph.onnx",
        weights=weights,
        mapped=Mapped(lowering),
        attentions=ATTENTIONS,
        tolerance=1e-5,
    )
    assert parity.cases == 3
    assert [str(value.name) for value in lowered.graph.inputs] == list(graph.contract.inputs)
    assert list(lowered.graph.inputs[0].shape or ())[:2] == ["batch", "length"]
    assert all(not node.metadata_props for node in lowered.graph)


def test_every_use_of_attention_is_lowered_in_float16_too(tmp_path: Path) -> None:
    graph = every_use()
    cached = {
        name: replace(spec, cached="key" in name or "value" in name)
        for name, spec in (graph.contract.inputs | graph.contract.outputs).items()
    }
    contract = Contract(
        inputs={name: cached[name] for name in graph.contract.inputs},
        outputs={name: cached[name] for name in graph.contract.outputs},
    )
    graph = replace(graph, contract=contract)
    halved = replace(graph, module=deepcopy(graph.module).half())
    lowering = contrib_attention.LOWERING
    lowered = trace(in_float16(halved), lowering)
    proto, weights = split_weights(lowered, {})
    onnx.save(proto, tmp_path / "graph.onnx")
    parity = check(
        graph,
        lowered,
        file=tmp_path / "graph.onnx",
        weights=weights,
        mapped=Mapped(lowering, precision="float16"),
        attentions=ATTENTIONS,
        tolerance=float16.TOLERANCE,
    )
    assert 1e-5 < parity.largest_difference < float16.TOLERANCE


def test_an_op_of_another_target_does_not_count() -> None:
    nodes = [ir.Node("", "Attention", []), ir.Node("com.microsoft", "MultiHeadAttention", [])]
    model = ir.Model(ir.Graph([], [], nodes=nodes), ir_version=10)
    assert LOWERINGS["contrib"].found(model) == {"MultiHeadAttention": 1}
    assert LOWERINGS["standard"].found(model) == {"Attention": 1}


def test_a_softmax_that_weighs_no_matrix_is_no_attention() -> None:
    scores = ir.Value(name="scores")
    attention, pooling = ir.Node("", "Softmax", [scores]), ir.Node("", "Softmax", [scores])
    uses = [
        ir.Node("", "MatMul", [attention.outputs[0], scores]),
        ir.Node("", "Mul", [pooling.outputs[0], scores]),
    ]
    graph = ir.Graph([scores], [], nodes=[attention, pooling, *uses])
    for lowering in LOWERINGS.values():
        assert lowering.found(ir.Model(graph, ir_version=10)) == {"Softmax": 1}


def test_attentions_of_one_op_are_counted_together() -> None:
    attentions = Attentions(whole=3, cached=2)
    cpu = {"MultiHeadAttention": 3, "GroupQueryAttention": 2}
    assert LOWERINGS["contrib"].expected(attentions) == cpu
    assert LOWERINGS["contrib"].expected(Attentions(whole=1)) == {"MultiHeadAttention": 1}
    assert LOWERINGS["standard"].expected(attentions) == {"Attention": 5}


@pytest.mark.parametrize("name", LOWERINGS)
def test_an_attention_that_no_target_fuses_is_counted_by_its_softmax(name: str) -> None:
    assert LOWERINGS[name].expected(Attentions(additive=1)) == {"Softmax": 1}


def test_attention_that_would_lose_its_dropout_is_refused() -> None:
    translate = LOWERINGS["contrib"].table[torch.ops.aten.scaled_dot_product_attention.default]
    with pytest.raises(ValueError, match="dropout"):
        translate(None, None, None, dropout_p=0.1)
