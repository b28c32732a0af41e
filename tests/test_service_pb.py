"""models → messages and back; the committed schema → no difference from the tasks."""

import re
from typing import Any

import pytest
from fake_tasks import SHOUT, TASKS, ShoutRequest, fake_service, fake_task, shout
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from pydantic import BaseModel, Field, create_model

from service.errors import InvalidInput
from service.pb import attendant_pb2
from service.pb.compile import PROTO, descriptor
from service.pb.convert import to_message, to_values
from service.pb.proto import kind, numbers, proto
from service.schema import RequestModel
from service.tasks import tasks


def messages(rpc: str) -> tuple[type[Message], type[Message]]:
    method = fake_service().methods_by_name[rpc]
    return GetMessageClass(method.input_type), GetMessageClass(method.output_type)


def test_the_committed_schema_is_what_the_tasks_say() -> None:
    committed = PROTO.read_text()
    assert proto(tasks(), numbers(descriptor(committed))) == committed, "run python -m service.pb"


def test_the_stubs_are_those_of_the_committed_schema() -> None:
    compiled = descriptor(PROTO.read_text())
    stubs = type(compiled).FromString(attendant_pb2.DESCRIPTOR.serialized_pb)
    # protoc leaves the JSON names, which follow from the names, out of the stubs.
    assert re.sub(r"\s*json_name: .*", "", str(compiled)) == str(stubs), "run python -m service.pb"


def test_every_example_survives_the_wire() -> None:
    service = attendant_pb2.DESCRIPTOR.services_by_name["Attendant"]
    for task in tasks():
        wire = GetMessageClass(service.methods_by_name[task.rpc].input_type)
        sent = to_message(task.example(), wire).SerializeToString()
        values = to_values(wire.FromString(sent))
        assert to_message(task.request.model_validate(values), wire).SerializeToString() == sent


def test_an_absent_field_keeps_the_models_default() -> None:
    request, _ = messages("Shout")
    received = SHOUT.request.model_validate(to_values(request(text=["a"])))
    assert received == ShoutRequest(text=["a"], times=1)


def test_a_zero_that_was_sent_is_not_an_absent_field() -> None:
    request, _ = messages("Shout")
    assert to_values(request(text=["a"], times=0)) == {"text": ["a"], "times": 0}


def test_one_text_travels_as_a_list_of_one() -> None:
    request, _ = messages("Shout")
    assert to_values(to_message(ShoutRequest(text="long"), request))["text"] == ["long"]


def test_an_answer_has_the_same_members_on_both_doors() -> None:
    _, response = messages("Shout")
    answer = shout(ShoutRequest(text=["a", "b"]))
    sent = MessageToDict(
        to_message(answer, response),
        preserving_proto_field_name=True,
        always_print_fields_with_no_presence=True,
    )
    unasked = {"timings_ms": sent["timings_ms"], "attention": []}
    assert sent == answer.model_dump(mode="json") | unasked
    assert set(sent["timings_ms"]) == set(answer.timings_ms.model_dump())


def test_a_field_that_the_schema_lacks_is_refused() -> None:
    request, _ = messages("Shout")
    newer = request(text=["a"]).SerializeToString() + b"\xa0\x06\x01"
    with pytest.raises(InvalidInput, match="no field 100"):
        to_values(request.FromString(newer))


def changed(**fields: Any) -> str:
    """The proto of a task whose request has these fields, given the numbers of `old`."""
    request = create_model("Changed", __base__=RequestModel, **fields)
    task = fake_task("shout", "Shout", request, SHOUT.response, SHOUT.example(), "")
    return proto([task], numbers(descriptor(proto([SHOUT], {}))))


def test_a_field_keeps_its_number_when_others_come_and_go() -> None:
    before = numbers(descriptor(proto([SHOUT], {})))["ShoutRequest"]
    text = changed(first=(int, 0), text=(str | list[str], ...), softly=(bool, False))
    after = numbers(descriptor(text))["ShoutRequest"]
    assert before == {"model": 1, "explain": 2, "text": 3, "times": 4, "softly": 5}
    assert after == {"model": 1, "explain": 2, "first": 6, "text": 3, "softly": 5, "times": 4}
    assert 'reserved "times"' in text


def test_models_of_the_tasks_own_file_are_nested_and_shared_ones_are_not() -> None:
    compiled = descriptor(proto(TASKS, {}))
    assert {"ShoutResponse.Shout", "Timings"} <= numbers(compiled).keys()
    assert [message.name for message in compiled.message_type].count("Timings") == 1


class Inner(BaseModel):
    score: float


@pytest.mark.parametrize(
    ("annotation", "expected"),
    [
        (int, ("", int)),
        (bool | None, ("optional", bool)),
        (list[Inner], ("repeated", Inner)),
        (tuple[float, ...], ("repeated", float)),
        (str | list[str], ("repeated", str)),
    ],
)
def test_annotations_become_labels_and_types(annotation: Any, expected: Any) -> None:
    assert kind(annotation) == expected


@pytest.mark.parametrize("annotation", [dict[str, int], int | str, list[list[int]], object])
def test_what_a_message_cannot_hold_is_refused(annotation: Any) -> None:
    with pytest.raises(TypeError, match="cannot hold"):
        kind(annotation)


def test_descriptions_and_defaults_become_comments() -> None:
    text = changed(loud=(int, Field(default=7, description="How loud.")))
    assert "// How loud. Default: 7." in text
