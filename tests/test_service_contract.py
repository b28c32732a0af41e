"""A graph fits its contract or every difference is said."""

from dataclasses import dataclass

import pytest

from service.contract import Graph, Tensor, decoding_step, spec_of, violations
from service.tasks import tasks

CONTRACT = Graph(
    inputs={
        "tokens": Tensor("int64", ("batch", 1)),
        "past_key_*": Tensor("float32", ("batch", None, "max_len", None)),
    },
    outputs={"logits": Tensor("float32", ("batch", None))},
)


@dataclass
class Node:
    """An input or output as ONNX Runtime tells of it."""

    name: str
    type: str
    shape: list[str | int]


TOKENS = Node("tokens", "tensor(int64)", ["batch", 1])
KEYS = [
    Node(f"past_key_{layer}", "tensor(float)", ["batch", 4, "max_len", 8]) for layer in range(12)
]
LOGITS = Node("logits", "tensor(float)", ["batch", 300])


def test_a_graph_that_fits_has_no_violations() -> None:
    assert violations(CONTRACT, [TOKENS, *KEYS], [LOGITS]) == []


@pytest.mark.parametrize(
    ("inputs", "outputs", "fault"),
    [
        ([TOKENS], [LOGITS], "past_key_* is missing"),
        (KEYS, [LOGITS], "tokens is missing"),
        ([TOKENS, *KEYS], [], "logits is missing"),
        ([TOKENS, *KEYS, Node("mask", "tensor(bool)", ["batch"])], [LOGITS],
         "mask is not in the contract"),
        ([Node("tokens", "tensor(int32)", ["batch", 1]), *KEYS], [LOGITS],
         "tokens is tensor(int32), not int64"),
        ([Node("tokens", "tensor(int64)", ["batch", "len"]), *KEYS], [LOGITS],
         "tokens has axes ['batch', 'len'], not ['batch', 1]"),
        ([Node("tokens", "tensor(int64)", [1, 1]), *KEYS], [LOGITS],
         "tokens has axes [1, 1], not ['batch', 1]"),
        ([Node("tokens", "tensor(int64)", ["batch"]), *KEYS], [LOGITS],
         "tokens has axes ['batch'], not ['batch', 1]"),
        ([TOKENS, *KEYS], [Node("logits", "tensor(float)", ["batch", "classes"])],
         "logits has axes ['batch', 'classes'], not ['batch', None]"),
    ],
)  # fmt: skip
def test_a_difference_is_named(inputs: list[Node], outputs: list[Node], fault: str) -> None:
    assert violations(CONTRACT, inputs, outputs) == [fault]


STEP = decoding_step({})
PAST = Node("past_lengths", "tensor(int64)", ["batch"])
STATES = [
    Node("state_0", "tensor(float)", ["batch", 48]),
    Node("state_1", "tensor(float)", ["batch", 4, 8, 9]),
]
NEXT = [Node(f"next_{node.name}", node.type, node.shape) for node in STATES]


def test_a_decoding_step_may_have_states_of_any_rank_and_no_caches() -> None:
    assert violations(STEP, [TOKENS, PAST, *STATES], [LOGITS, *NEXT]) == []


@pytest.mark.parametrize(
    ("inputs", "outputs", "fault"),
    [
        (STATES, NEXT[1:], "next_state_0 is missing"),
        (STATES[1:], NEXT, "state_0 is missing"),
        (KEYS[:1], [], "present_key_0 is missing"),
        ([Node("state_0", "tensor(float)", ["batch", "len"])], NEXT[:1],
         "state_0 has axes ['batch', 'len'], not ['batch', Ellipsis]"),
    ],
)  # fmt: skip
def test_what_a_step_changes_must_come_out_and_go_in(
    inputs: list[Node], outputs: list[Node], fault: str
) -> None:
    assert violations(STEP, [TOKENS, PAST, *inputs], [LOGITS, *outputs]) == [fault]


def test_all_differences_are_named_at_once() -> None:
    assert len(violations(CONTRACT, [], [])) == 3


def test_a_layers_number_finds_the_declaration_of_all_layers() -> None:
    assert spec_of("past_key_11", CONTRACT.inputs) == CONTRACT.inputs["past_key_*"]
    assert spec_of("tokens", CONTRACT.inputs) == CONTRACT.inputs["tokens"]
    assert spec_of("past_key_x", CONTRACT.inputs) is None
    assert spec_of("past_value_0", CONTRACT.inputs) is None


def test_every_task_speaks_of_types_that_the_runtime_has() -> None:
    for task in tasks():
        for graph in task.contract.values():
            for name, tensor in {**graph.inputs, **graph.outputs}.items():
                assert tensor.dtype in ("bool", "int32", "int64", "float32"), (task.name, name)
                assert tensor.axes[0] == "batch", (task.name, name)
