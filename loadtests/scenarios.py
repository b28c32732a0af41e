"""a task's example → the bytes that either door gets, and the check of what comes back."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from pydantic import BaseModel
from urllib3.filepost import encode_multipart_formdata

from service.pb import attendant_pb2
from service.pb.convert import to_message
from service.tasks import Task

SERVICE = attendant_pb2.DESCRIPTOR.services_by_name["Attendant"]


class WrongAnswer(Exception):
    """The service answered, but not what the task's example is known to give."""


@dataclass(frozen=True)
class Scenario:
    """One request, encoded once for all its repetitions."""

    task: str
    expected: str
    path: str
    body: bytes
    content_type: str
    method: str
    message: bytes
    reply: type[Message]

    def check(self, answer: object) -> None:
        """Raises WrongAnswer unless the expected text is in the answer's JSON."""
        text = json.dumps(answer, ensure_ascii=False)
        if self.expected not in text:
            raise WrongAnswer(f"{self.expected!r} is not in {text[:200]}")


def encode(request: BaseModel) -> tuple[bytes, str]:
    """Body and content type: JSON, or a form if a field holds bytes, which then is a file of it."""
    values = request.model_dump(exclude_unset=True)
    if not any(isinstance(value, bytes) for value in values.values()):
        return request.model_dump_json(exclude_unset=True).encode(), "application/json"
    parts: dict[str, str | tuple[str, bytes]] = {}
    for name, value in values.items():
        if isinstance(value, bytes):
            parts[name] = (name, value)
        else:
            parts[name] = value if isinstance(value, str) else json.dumps(value)
    return encode_multipart_formdata(parts)


def scenario(
    task: Task, service: ServiceDescriptor = SERVICE, request: BaseModel | None = None
) -> Scenario:
    """The scenario of one task, whose method is in this service; its example unless given."""
    example = request or task.example()
    body, content_type = encode(example)
    method = service.methods_by_name[task.rpc]
    return Scenario(
        task=task.name,
        expected=task.expected,
        path=f"/{task.name}",
        body=body,
        content_type=content_type,
        method=f"/{service.full_name}/{task.rpc}",
        message=to_message(example, GetMessageClass(method.input_type)).SerializeToString(),
        reply=GetMessageClass(method.output_type),
    )


def scenarios(tasks: Sequence[Task], service: ServiceDescriptor = SERVICE) -> list[Scenario]:
    return [scenario(task, service) for task in tasks]
