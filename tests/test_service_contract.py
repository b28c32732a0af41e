"""A graph fits its contract or every difference is said."""

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


Side = dict[str, Tensor]

TOKENS = {"tokens": Tensor("int64", ("batch", 1))}
KEYS = {f"past_key_{layer}": Tensor("float32", ("batch", 4, "max_len", 8)) for layer in range(12)}
LOGITS = {"logits": Tensor("float32", ("batch", 300))}


def test_a_graph_that_fits_has_no_violations() -> None:
    assert violations(CONTRACT, TOKENS | KEYS, LOGITS) == []


@pytest.mark.parametrize(
    ("inputs", "outputs", "fault"),
    [
        (TOKENS, LOGITS, "past_key_* is missing"),
        (KEYS, LOGITS, "tokens is missing"),
        (TOKENS | KEYS, {}, "logits is missing"),
        (TOKENS | KEYS | {"mask": Tensor("bool", ("batch",))}, LOGITS,
         "mask is not in the contract"),
        (KEYS | {"tokens": Tensor("int32", ("batch", 1))}, LOGITS,
         "tokens is int32, not int64"),
        (KEYS | {"tokens": Tensor("int64", ("batch", "len"))}, LOGITS,
         "tokens has axes ['batch', 'len'], not ['batch', 1]"),
        (KEYS | {"tokens": Tensor("int64", (1, 1))}, LOGITS,
         "tokens has axes [1, 1], not ['batch', 1]"),
        (KEYS | {"tokens": Tensor("int64", ("batch",))}, LOGITS,
         "tokens has axes ['batch'], not ['batch', 1]"),
        (TOKENS | KEYS, {"logits": Tensor("float32", ("batch", "classes"))},
         "logits has axes ['batch', 'classes'], not ['batch', None]"),
    ],
)  # fmt: skip
def test_a_difference_is_named(inputs: Side, outputs: Side, fault: str) -> None:
    assert violations(CONTRACT, inputs, outputs) == [fault]


STEP = decoding_step({})
PAST = {"past_lengths": Tensor("int64", ("batch",))}
ONE = {"state_0": Tensor("float32", ("batch", 48))}
OTHER = {"state_1": Tensor("float32", ("batch", 4, 8, 9))}
STATES = ONE | OTHER
NEXT = {f"next_{name}": tensor for name, tensor in STATES.items()}


def test_a_decoding_step_may_have_states_of_any_rank_and_no_caches() -> None:
    assert violations(STEP, TOKENS | PAST | STATES, LOGITS | NEXT) == []


@pytest.mark.parametrize(
    ("inputs", "outputs", "fault"),
    [
        (STATES, {"next_state_1": NEXT["next_state_1"]}, "next_state_0 is missing"),
        (OTHER, NEXT, "state_0 is missing"),
        ({"past_key_0": KEYS["past_key_0"]}, {}, "present_key_0 is missing"),
        ({"state_0": Tensor("float32", ("batch", "len"))}, {"next_state_0": NEXT["next_state_0"]},
         "state_0 has axes ['batch', 'len'], not ['batch', Ellipsis]"),
    ],
)  # fmt: skip
def test_what_a_step_changes_must_come_out_and_go_in(
    inputs: Side, outputs: Side, fault: str
) -> None:
    assert violations(STEP, TOKENS | PAST | inputs, LOGITS | outputs) == [fault]


def test_all_differences_are_named_at_once() -> None:
    assert len(violations(CONTRACT, {}, {})) == 3


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
                # How silence is folded is the same for all rows of a batch.
                first = "groups" if name == "begins" else "batch"
                assert tensor.axes[0] == first, (task.name, name)
