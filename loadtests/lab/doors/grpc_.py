"""Attendant over gRPC: one unary method for each task."""

from typing import Any

from google.protobuf.json_format import MessageToDict
from google.protobuf.message_factory import GetMessageClass
from pydantic import BaseModel

from loadtests.lab.doors import Encoded
from service.pb import attendant_pb2
from service.pb.convert import to_message
from service.tasks import Task

NAME = "gRPC"
TRANSPORT = "grpc"
SERVICE = attendant_pb2.DESCRIPTOR.services_by_name["Attendant"]


def encode(task: Task, request: BaseModel) -> Encoded:
    method = SERVICE.methods_by_name[task.rpc]
    message = to_message(request, GetMessageClass(method.input_type))
    return Encoded(f"/{SERVICE.full_name}/{task.rpc}", message.SerializeToString(), {})


def read(target: str, content: bytes) -> Any:
    method = SERVICE.methods_by_name[target.rpartition("/")[2]]
    return MessageToDict(
        GetMessageClass(method.output_type).FromString(content),
        preserving_proto_field_name=True,
        always_print_fields_with_no_presence=True,
    )
