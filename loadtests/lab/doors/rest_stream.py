"""Attendant over HTTP with Server-Sent Events: the text of tasks that generate, as it comes."""

import json
from typing import Any

from pydantic import BaseModel

from loadtests.lab.doors import Encoded, rest
from service.tasks import Task

NAME = "REST-stream"
TRANSPORT = "http"
ANSWER = b"event: answer\ndata: "


def encode(task: Task, request: BaseModel) -> Encoded | None:
    if task.generation is None:
        return None
    plain = rest.encode(task, request)
    headers = {**plain.headers, "Accept": "text/event-stream"}
    return Encoded(plain.target, plain.body, headers)


def first(piece: bytes) -> bool:
    return b"event: partial" in piece


def read(_target: str, content: bytes) -> Any:
    """Raises ValueError where the stream ended in a problem."""
    _, found, rest_of_it = content.replace(b"\r\n", b"\n").partition(ANSWER)
    if not found:
        raise ValueError(f"no answer in the stream: {content[-300:].decode(errors='replace')}")
    return json.loads(rest_of_it.partition(b"\n")[0])
