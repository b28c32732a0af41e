"""a request → as each kind of server takes it; its answer → what it says."""

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from urllib3.filepost import encode_multipart_formdata

from loadtests.scenarios import Scenario, scenario
from service.schema import RequestModel
from service.tasks import Task

JSON = "application/json"
BINARY = "application/octet-stream"


@dataclass(frozen=True)
class Payload:
    """One request, before a server is chosen."""

    scenario: Scenario
    content: bytes
    """The picture, the recording, or the whole request as JSON."""
    text: str
    """The same for servers that take text only: what is not JSON is in base64."""
    binary: bool


def payload(task: Task, request: RequestModel) -> Payload:
    one = scenario(task, request=request)
    files = [each for each in request.model_dump().values() if isinstance(each, bytes)]
    if not files:
        return Payload(one, one.body, one.body.decode(), binary=False)
    return Payload(one, files[0], base64.b64encode(files[0]).decode(), binary=True)


Answer = dict[str, Any]


@dataclass(frozen=True)
class Adapter:
    """How a kind of server is asked; `answer` finds the task's response in the JSON it sends."""

    ask: Callable[[Payload], Scenario]
    answer: Callable[[Any], Answer]


def _raw(of: Payload) -> Scenario:
    return replace(of.scenario, body=of.content, content_type=BINARY if of.binary else JSON)


def _json(of: Payload, path: str, value: object) -> Scenario:
    body = json.dumps(value, ensure_ascii=False).encode()
    return replace(of.scenario, path=path, body=body, content_type=JSON)


def _oip(of: Payload) -> Scenario:
    """The Open Inference Protocol: one tensor of one text."""
    content = {"name": "content", "datatype": "BYTES", "shape": [1, 1], "data": [of.text]}
    return _json(of, f"/v2/models/{of.scenario.task}/infer", {"inputs": [content]})


def _openai(of: Payload) -> Scenario:
    body, content_type = encode_multipart_formdata(
        {
            "model": "whisper",
            "language": "en",
            "temperature": "0",
            "file": ("audio.flac", of.content, "audio/flac"),
        }
    )
    path = "/v1/audio/transcriptions"
    return replace(of.scenario, path=path, body=body, content_type=content_type)


def _whole(answer: Any) -> Answer:
    return dict(answer)


RAW = Adapter(_raw, _whole)
"""The content is the body: Attendant, FastAPI, Ray Serve."""
LITSERVE = Adapter(lambda of: _json(of, of.scenario.path, {"content": of.text}), _whole)
BENTOML = Adapter(
    lambda of: _json(of, of.scenario.path, {"contents": [of.text]}), lambda answer: dict(answer[0])
)
OIP = Adapter(_oip, lambda answer: dict(json.loads(answer["outputs"][0]["data"][0])))
"""MLServer and Triton."""
OPENAI = Adapter(_openai, _whole)


def said(answer: Answer) -> str:
    """The likeliest label, the translations or the transcript of a response."""
    if "labels" in answer:
        return str(answer["labels"][0]["label"])
    if "translations" in answer:
        return "\n".join(str(each["text"]) for each in answer["translations"])
    return str(answer["text"]).strip()
