"""Attendant over HTTP: `POST /{task}` with JSON, or a form where a field is a file."""

import json
from typing import Any

from pydantic import BaseModel

from loadtests.lab.doors import Encoded
from loadtests.scenarios import encode as encode_body
from service.tasks import Task

NAME = "REST"
TRANSPORT = "http"


def encode(task: Task, request: BaseModel) -> Encoded:
    body, content_type = encode_body(request)
    return Encoded(f"/{task.name}", body, {"Content-Type": content_type})


def read(_target: str, content: bytes) -> Any:
    return json.loads(content)
