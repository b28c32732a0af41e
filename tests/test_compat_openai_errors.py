"""OpenAI's clients are told which refusals to try again, and when."""

import json

import pytest

from service.compat.openai.errors import refuse
from service.errors import InvalidInput, Overloaded, Problem, Unavailable

PATH = "/v1/audio/transcriptions"


@pytest.mark.parametrize(
    "problem", [Overloaded("full", None, 1.2), Unavailable("loading", None, 2)]
)
def test_what_may_succeed_later_says_when(problem: Problem) -> None:
    answer = refuse(problem, PATH)
    assert answer.headers["retry-after"] == "2"
    assert "x-should-retry" not in answer.headers


@pytest.mark.parametrize("problem", [Problem("broken"), InvalidInput("is no language", "language")])
def test_what_will_not_succeed_is_not_to_be_tried_again(problem: Problem) -> None:
    answer = refuse(problem, PATH)
    assert answer.headers["x-should-retry"] == "false"
    assert "retry-after" not in answer.headers
    assert json.loads(answer.body)["error"]["param"] == problem.field
