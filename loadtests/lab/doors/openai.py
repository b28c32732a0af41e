"""OpenAI's audio API: `POST /v1/audio/transcriptions`, a form with the recording at its end."""

import json
from typing import Any

from pydantic import BaseModel
from urllib3.filepost import encode_multipart_formdata

from loadtests.lab.doors import Encoded
from service.tasks import Task

NAME = "OpenAI"
TRANSPORT = "http"
TASK = "automatic-speech-recognition"


def encode(task: Task, request: BaseModel) -> Encoded | None:
    if task.name != TASK:
        return None
    values = request.model_dump()
    parts = {
        "model": task.name,
        "language": values["language"],
        "response_format": "json",
        "file": ("audio", values["audio"]),
    }
    body, content_type = encode_multipart_formdata(parts)
    return Encoded("/v1/audio/transcriptions", body, {"Content-Type": content_type})


def read(_target: str, content: bytes) -> Any:
    return json.loads(content)
