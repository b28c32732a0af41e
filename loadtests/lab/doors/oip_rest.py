"""Open Inference Protocol over HTTP: `POST /v2/models/{task}/infer`, its input as binary tensor."""

import json
from typing import Any

from pydantic import BaseModel

from loadtests.lab.doors import Encoded
from service.schema import input_field
from service.tasks import Task

NAME = "OIP-REST"
TRANSPORT = "http"


def split(request: BaseModel) -> tuple[str, list[bytes], dict[str, Any]]:
    """The input, its elements, and the other fields."""
    name = input_field(type(request))
    values = request.model_dump(exclude_unset=True)
    value = values.pop(name)
    elements = value if isinstance(value, list) else [value]
    return name, [_element(each) for each in elements], values


def _element(value: Any) -> bytes:
    if isinstance(value, dict):
        value = json.dumps(value)
    return value.encode() if isinstance(value, str) else bytes(value)


def packed(elements: list[bytes]) -> bytes:
    """BYTES as the protocol has them: a length of four bytes, little-endian, before each."""
    return b"".join(len(each).to_bytes(4, "little") + each for each in elements)


def encode(task: Task, request: BaseModel) -> Encoded:
    name, elements, others = split(request)
    content = packed(elements)
    tensor = {
        "name": name,
        "shape": [len(elements)],
        "datatype": "BYTES",
        "parameters": {"binary_data_size": len(content)},
    }
    head = json.dumps({"parameters": others, "inputs": [tensor]}).encode()
    headers = {
        "Content-Type": "application/octet-stream",
        "Inference-Header-Content-Length": str(len(head)),
    }
    return Encoded(f"/v2/models/{task.name}/infer", head + content, headers)


def read(_target: str, content: bytes) -> Any:
    """Output → its values; other members differ from one answer to the next."""
    answer = json.loads(content)
    return {output["name"]: output["data"] for output in answer["outputs"]}
