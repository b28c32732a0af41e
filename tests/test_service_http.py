"""HTTP requests, most of them bad → the engine's answers, or problems that say what to change."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from fake_tasks import LIMIT_BYTES, PROBLEMS, FakeEngine, HttpEngine, ShoutRequest, WeighRequest
from starlette.testclient import TestClient

from service.errors import Overloaded, Problem
from service.gate import Gate
from service.http import TaskDoor, pages

JSON = {"content-type": "application/json"}
THING = {"thing": ("a.bin", b"12345", "application/octet-stream")}


@pytest.fixture
def engine() -> FakeEngine:
    return HttpEngine()


@pytest.fixture
def client(engine: FakeEngine) -> Iterator[TestClient]:
    door = TaskDoor(engine, Gate(), pages(engine))  # type: ignore[arg-type]
    with TestClient(door, raise_server_exceptions=False) as client:
        yield client


def problem(reply: httpx.Response, status: int) -> dict[str, Any]:
    assert reply.status_code == status, reply.text
    assert reply.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = reply.json()
    assert body["status"] == status
    assert {"type", "title", "detail", "instance"} <= set(body)
    return body


def test_json_gets_the_answer_and_the_engine_the_typed_request(
    client: TestClient, engine: FakeEngine
) -> None:
    reply = client.post("/shout", json={"text": ["a", "ü"], "times": 3})
    assert reply.status_code == 200
    assert reply.headers["content-type"] == "application/json"
    assert [shout["text"] for shout in reply.json()["shouts"]] == ["A!!!", "Ü!!!"]
    assert "timings_ms" in reply.json()
    assert engine.asked[0][:2] == ("shout", ShoutRequest(text=["a", "ü"], times=3))


def test_json_is_the_default_where_no_content_type_is_sent(client: TestClient) -> None:
    assert client.post("/shout", content=b'{"text": "a"}').status_code == 200


@pytest.mark.parametrize(
    ("body", "field", "words"),
    [
        ({"text": 5}, "text", "valid"),
        ({"text": None}, "text", "valid"),
        ({"text": {"a": "b"}}, "text", "valid"),
        ({"text": ["a", 5]}, "text.1", "string"),
        ({}, "text", "required"),
        ({"text": "a", "times": "many"}, "times", "integer"),
        ({"text": "a", "times": 1.5}, "times", "integer"),
        ({"text": "a", "times": 4}, "times", "less than or equal to 3"),
        ({"text": "a", "times": 0}, "times", "greater than or equal to 1"),
        ({"text": "a", "tone": "high"}, "tone", "not permitted"),
        ([], None, "object"),
        ("text", None, "object"),
    ],
)
def test_a_value_that_does_not_fit_is_refused_with_its_field(
    client: TestClient, engine: FakeEngine, body: Any, field: str | None, words: str
) -> None:
    refused = problem(client.post("/shout", json=body), 422)
    assert refused.get("field") == field
    assert words in refused["detail"]
    assert refused["instance"] == "/shout"
    assert not engine.asked


@pytest.mark.parametrize("body", [b"", b"{", b'{"text": "a"', b"text=a", b"\xff\xfe", b"{'a': 1}"])
def test_what_is_no_json_is_malformed(client: TestClient, body: bytes) -> None:
    refused = problem(client.post("/shout", content=body, headers=JSON), 400)
    assert refused["field"] == "body"
    assert "JSON" in refused["detail"]


@pytest.mark.parametrize("media", ["text/plain", "application/xml", "multipart/form-data"])
def test_a_task_of_json_takes_nothing_else(client: TestClient, media: str) -> None:
    reply = client.post("/shout", content=b"a", headers={"content-type": media})
    assert media in problem(reply, 415)["detail"]


def test_a_body_over_the_limit_is_refused_by_its_declared_length(client: TestClient) -> None:
    reply = client.post("/shout", content=b"x" * (LIMIT_BYTES + 1), headers=JSON)
    assert str(LIMIT_BYTES) in problem(reply, 413)["detail"]


def test_a_chunked_body_over_the_limit_is_refused_on_the_way(client: TestClient) -> None:
    chunks = (b"x" * 100 for _ in range(LIMIT_BYTES))
    reply = client.post("/weigh-thing", content=chunks)
    assert str(LIMIT_BYTES) in problem(reply, 413)["detail"]


def test_a_body_of_just_the_limit_is_read(client: TestClient) -> None:
    text = "x" * (LIMIT_BYTES - len('{"text":""}'))
    body = json.dumps({"text": text}, separators=(",", ":")).encode()
    assert len(body) == LIMIT_BYTES
    assert client.post("/shout", content=body, headers=JSON).status_code == 200


def test_a_length_that_is_no_number_is_malformed(client: TestClient) -> None:
    reply = client.post("/shout", content=b"{}", headers={**JSON, "content-length": "-5"})
    problem(reply, 400)


def test_a_form_gives_the_bytes_and_the_fields_beside_them(
    client: TestClient, engine: FakeEngine
) -> None:
    reply = client.post("/weigh-thing", files=THING, data={"scale": "0.5"})
    assert reply.json()["weight"] == 2.5
    assert engine.asked[0][1] == WeighRequest(thing=b"12345", scale=0.5)


@pytest.mark.parametrize(
    "media", ["application/octet-stream", "image/png", "", "application/x-www-form-urlencoded"]
)
def test_the_raw_body_is_the_bytes_and_the_query_the_rest(client: TestClient, media: str) -> None:
    headers = {"content-type": media} if media else {}
    reply = client.post("/weigh-thing?scale=2", content=b"12345", headers=headers)
    assert reply.json()["weight"] == 10


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("scale=much", "scale"),
        ("scale=[1]", "scale"),
        ("colour=red", "colour"),
        ("scale=", "scale"),
        ("scale=" + "[" * 1_500, "scale"),
    ],
)
def test_a_query_that_does_not_fit_is_refused_with_its_field(
    client: TestClient, query: str, field: str
) -> None:
    reply = client.post(f"/weigh-thing?{query}", content=b"12345")
    assert problem(reply, 422)["field"] == field


def test_a_query_beside_a_form_is_read_too(client: TestClient) -> None:
    assert client.post("/weigh-thing?scale=2", files=THING).json()["weight"] == 10
    reply = client.post("/weigh-thing?colour=red", files=THING)
    assert problem(reply, 422)["field"] == "colour"


def test_a_query_beside_json_is_refused(client: TestClient) -> None:
    refused = problem(client.post("/shout?times=2", json={"text": "a"}), 422)
    assert refused["field"] == "times"
    assert refused["detail"] == "send the fields in the body"


@pytest.mark.parametrize("fields", [{"times": "2"}, {"times": True}, {"softly": "yes"}])
def test_a_value_of_another_type_is_not_taken_for_what_it_might_mean(
    client: TestClient, fields: dict[str, Any]
) -> None:
    refused = problem(client.post("/shout", json={"text": "a", **fields}), 422)
    assert refused["field"] == next(iter(fields))


def test_a_form_field_that_does_not_fit_is_refused_with_its_field(client: TestClient) -> None:
    reply = client.post("/weigh-thing", files=THING, data={"scale": "much"})
    assert problem(reply, 422)["field"] == "scale"
    reply = client.post("/weigh-thing", files=THING, data={"colour": "red"})
    assert problem(reply, 422)["field"] == "colour"


def test_bytes_over_their_own_limit_are_refused_with_it(client: TestClient) -> None:
    refused = problem(client.post("/weigh-thing", content=b"x" * 101), 422)
    assert refused["field"] == "thing"
    assert "100 bytes" in refused["detail"]


def test_no_bytes_are_refused(client: TestClient) -> None:
    assert problem(client.post("/weigh-thing", content=b""), 422)["field"] == "thing"
    empty = {"thing": ("a.bin", b"", "application/octet-stream")}
    assert problem(client.post("/weigh-thing", files=empty), 422)["field"] == "thing"
    other = {"other": ("a.bin", b"1", "application/octet-stream")}
    assert problem(client.post("/weigh-thing", files=other), 422)["field"] in ("thing", "other")


def form(*parts: str, boundary: str = "line") -> tuple[bytes, dict[str, str]]:
    text = "".join(f"--{boundary}\r\n{part}\r\n" for part in parts) + f"--{boundary}--\r\n"
    return text.encode(), {"content-type": f"multipart/form-data; boundary={boundary}"}


def test_a_binary_field_sent_as_text_is_refused(client: TestClient) -> None:
    body, headers = form('Content-Disposition: form-data; name="thing"\r\n\r\n12345')
    refused = problem(client.post("/weigh-thing", content=body, headers=headers), 415)
    assert refused["field"] == "thing"
    assert "file" in refused["detail"]


@pytest.mark.parametrize(
    ("body", "media"),
    [
        (b"12345", "multipart/form-data"),
        (b"12345", "multipart/form-data; boundary="),
        (b"12345", "multipart/form-data; boundary=line"),
        (b"--line\r\nno header\r\n\r\n1\r\n--line--", "multipart/form-data; boundary=line"),
        (b"--line\r\nContent-Disposition: form-data\r\n\r\n1\r\n--line--\r\n",
         "multipart/form-data; boundary=line"),
    ],
)  # fmt: skip
def test_what_is_no_form_is_refused(client: TestClient, body: bytes, media: str) -> None:
    reply = client.post("/weigh-thing", content=body, headers={"content-type": media})
    assert reply.status_code in (400, 422), reply.text
    problem(reply, reply.status_code)


def test_many_files_are_refused(client: TestClient) -> None:
    files = [("thing", ("a", b"1")), ("thing", ("b", b"2"))]
    problem(client.post("/weigh-thing", files=files), 400)


def test_json_for_bytes_is_refused_with_what_to_send(client: TestClient) -> None:
    refused = problem(client.post("/weigh-thing", json={"thing": "MTIz"}), 415)
    assert "multipart/form-data" in refused["detail"]
    assert "thing" in refused["detail"]


def test_an_unknown_path_and_a_wrong_method_are_problems_too(client: TestClient) -> None:
    assert problem(client.post("/nothing"), 404)["instance"] == "/nothing"
    reply = client.get("/shout")
    problem(reply, 405)
    assert reply.headers["allow"] == "POST"


@pytest.mark.parametrize("kind", [Problem, *PROBLEMS])
def test_a_problem_of_the_engine_has_its_status_and_field(
    client: TestClient, engine: FakeEngine, kind: type[Problem]
) -> None:
    engine.problem = kind("is not served", "text")
    reply = client.post("/shout", json={"text": "a"})
    refused = problem(reply, int(kind.status))
    assert (refused["detail"], refused["field"], refused["title"]) == (
        "is not served", "text", kind.title,
    )  # fmt: skip
    assert ("retry-after" in reply.headers) == (kind.status in (429, 503))


def test_what_comes_at_a_bad_time_is_refused_before_its_body_is_read(
    client: TestClient, engine: FakeEngine
) -> None:
    engine.full = Overloaded("later")
    problem(client.post("/shout", content=b"no JSON at all"), 429)
    assert not engine.asked


def test_an_unexpected_error_tells_nothing_of_itself(
    client: TestClient, engine: FakeEngine
) -> None:
    engine.problem = RuntimeError("the secret of the house")
    refused = problem(client.post("/shout", json={"text": "a"}), 500)
    assert "secret" not in json.dumps(refused)


def test_the_status_says_which_task_is_served_and_why_not(client: TestClient) -> None:
    status = client.get("/status").json()
    assert status["ready"] is True
    assert status["tasks"]["shout"] == "ready"
    assert "missing" in status["tasks"]["weigh-thing"]


def test_the_metrics_count_requests_by_task_door_and_outcome(
    client: TestClient, engine: FakeEngine
) -> None:
    def count(code: str) -> float:
        text = client.get("/metrics").text
        line = f'attendant_requests_total{{code="{code}",door="http",model="",task="shout"}} '
        return next((float(row[len(line) :]) for row in text.splitlines() if line in row), 0.0)

    before = count("ok"), count("invalid_argument"), count("resource_exhausted")
    client.post("/shout", json={"text": "a"})
    client.post("/shout", json={})
    engine.problem = Overloaded("later")
    client.post("/shout", json={"text": "a"})
    after = count("ok"), count("invalid_argument"), count("resource_exhausted")
    assert [b - a for a, b in zip(before, after, strict=True)] == [1, 1, 1]
