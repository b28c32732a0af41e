"""examples → the bodies of requests, and the judgement of answers."""

import json
from email import message_from_bytes

import pytest
from fake_tasks import SHOUT, WEIGH, WeighRequest, fake_service

from loadtests.scenarios import WrongAnswer, encode, scenario, scenarios
from service.tasks import tasks


def test_an_example_without_bytes_is_json() -> None:
    body, content_type = encode(SHOUT.example())
    assert content_type == "application/json"
    assert json.loads(body) == {"text": "grün", "times": 2}


def test_bytes_are_a_file_of_a_form_and_the_rest_its_fields() -> None:
    body, content_type = encode(WeighRequest(thing=b"\x00\xff\r\n", scale=0.5))
    form = message_from_bytes(f"Content-Type: {content_type}\r\n\r\n".encode() + body)
    named = {part.get_param("name", header="content-disposition"): part for part in form.walk()}
    assert named["thing"].get_filename() == "thing"
    assert named["thing"].get_payload(decode=True) == b"\x00\xff\r\n"
    assert named["scale"].get_filename() is None
    assert named["scale"].get_payload() == "0.5"


def test_paths_and_methods_follow_from_the_task() -> None:
    weigh = scenario(WEIGH, fake_service())
    assert weigh.path == "/weigh-thing"
    assert weigh.method == "/attendant.v1.Attendant/WeighThing"


def test_only_an_answer_with_the_expected_text_is_right() -> None:
    shout = scenario(SHOUT, fake_service())
    shout.check({"shouts": [{"text": "GRÜN!!"}]})
    with pytest.raises(WrongAnswer, match="GRÜN"):
        shout.check({"shouts": [{"text": "GRUN!!"}]})


def test_every_task_has_a_scenario() -> None:
    assert [one.task for one in scenarios(tasks())] == [task.name for task in tasks()]
