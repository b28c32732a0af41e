"""OpenAI's clients are told which refusals to try again, and when."""

import json

import pytest
from fake_doors import Doors, with_doors

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


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("/v1/models/a%0Ab", {"type": "invalid_request_error", "param": None}),
        ("/nothing%0A", "no path has a line break in it"),
    ],
)
def test_a_path_with_a_line_break_is_not_there_in_the_words_of_its_door(
    path: str, error: object
) -> None:
    async def scenario(doors: Doors) -> None:
        reply = await doors.http.get(path)
        assert reply.status_code == 404
        assert reply.headers["content-type"] == "application/problem+json"
        said = reply.json()["error"]
        assert error == said if isinstance(error, str) else error.items() <= said.items()

    with_doors(scenario)
