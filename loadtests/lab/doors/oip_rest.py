"""Open Inference Protocol over HTTP: `POST /v2/models/{task}/infer`, its input as binary tensor."""

import json
from typing import Any

from pydantic import BaseModel

from loadtests.lab.doors import Encoded
from service.tasks import Task

NAME = "OIP-REST"
TRANSPORT = "http"


def split(request: BaseModel) -> tuple[str, list[bytes], dict[str, Any]]:
    """The input (the first field that is required), its elements, and the other fields."""
    fields = type(request).model_fields
    name = next(name for name, field in fields.items() if field.is_required())
    values = request.model_dump(exclude_unset=True)
    value = values.pop(name)
    elements = value if isinstance(value, list) else [value]
    return name, [each.encode() if isinstance(each, str) else each for each in elements], values


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
