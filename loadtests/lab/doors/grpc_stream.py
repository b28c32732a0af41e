"""Attendant over gRPC with the text of tasks that generate as it comes: `TranslateStream`, ..."""

from typing import Any

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from pydantic import BaseModel

from loadtests.lab.doors import Encoded, grpc_
from service.pb import attendant_pb2
from service.tasks import Task

NAME = "gRPC-stream"
TRANSPORT = "grpc"
PARTIAL = attendant_pb2.TranslateEvent.DESCRIPTOR.fields_by_name["partial"].number
"""The same in the events of every task, as `service.pb.proto` writes them."""


def encode(task: Task, request: BaseModel) -> Encoded | None:
    if task.generation is None:
        return None
    plain = grpc_.encode(task, request)
    return Encoded(f"{plain.target}Stream", plain.body, {})


def first(piece: bytes) -> bool:
    """By the tag of the event's one field: length-delimited is wire type 2."""
    return piece[:1] == bytes([PARTIAL << 3 | 2])


def read(target: str, content: bytes) -> Any:
    """Raises ValueError where the stream ended without an answer."""
    method = grpc_.SERVICE.methods_by_name[target.rpartition("/")[2]]
    event: Message = GetMessageClass(method.output_type).FromString(content)
    if event.WhichOneof("event") != "answer":
        raise ValueError("the stream ended without an answer")
    answer: Any = event
    return MessageToDict(
        answer.answer, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
