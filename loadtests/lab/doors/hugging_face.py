"""Hugging Face's inference API: `POST /models/{task}`, files as they are and texts as JSON."""

import json
from typing import Any

from pydantic import BaseModel

from loadtests.lab.doors import Encoded
from service.tasks import Task

NAME = "HuggingFace"
TRANSPORT = "http"


def encode(task: Task, request: BaseModel) -> Encoded | None:
    values = request.model_dump()
    path = f"/models/{task.name}"
    for name in ("image", "audio"):
        if name in values:
            return Encoded(path, values[name], {"Content-Type": "application/octet-stream"})
    if task.name != "translation" or not isinstance(values["text"], str):
        return None
    parameters = {"src_lang": values["source"], "tgt_lang": values["target"]}
    body = json.dumps({"inputs": values["text"], "parameters": parameters}).encode()
    return Encoded(path, body, {"Content-Type": "application/json"})


def read(_target: str, content: bytes) -> Any:
    return json.loads(content)
