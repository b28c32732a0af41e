"""LibreTranslate's API: `POST /translate` with JSON."""

import json
from typing import Any

from pydantic import BaseModel

from loadtests.lab.doors import Encoded
from service.tasks import Task

NAME = "LibreTranslate"
TRANSPORT = "http"


def encode(task: Task, request: BaseModel) -> Encoded | None:
    if task.name != "translation":
        return None
    values = request.model_dump()
    asked = {"q": values["text"], "source": values["source"], "target": values["target"]}
    body = json.dumps({**asked, "format": "text"}).encode()
    return Encoded("/translate", body, {"Content-Type": "application/json"})


def read(_target: str, content: bytes) -> Any:
    return json.loads(content)
