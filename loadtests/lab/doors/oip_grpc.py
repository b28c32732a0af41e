"""Open Inference Protocol over gRPC: `GRPCInferenceService/ModelInfer`, with raw contents."""

from typing import Any

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
)
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.json_format import MessageToDict
from google.protobuf.message_factory import GetMessageClass
from pydantic import BaseModel

from loadtests.lab.doors import Encoded, oip_rest
from service.tasks import Task

NAME = "OIP-gRPC"
TRANSPORT = "grpc"
METHOD = "/inference.GRPCInferenceService/ModelInfer"
Kind = FieldDescriptorProto
TENSOR = (("name", 1, Kind.TYPE_STRING), ("datatype", 2, Kind.TYPE_STRING))
SHAPE, RAW = ("shape", 3, Kind.TYPE_INT64), Kind.TYPE_BYTES


def _message(name: str, *fields: tuple[str, int, Any], repeated: tuple[Any, ...] = ()) -> Any:
    """A message by the numbers of its fields; of a message type the kind is its name."""
    message = DescriptorProto(name=name)
    for field, label in [(each, 1) for each in fields] + [(each, 3) for each in repeated]:
        made = message.field.add(name=field[0], number=field[1], label=label)
        if isinstance(field[2], str):
            made.type, made.type_name = Kind.TYPE_MESSAGE, f".inference.{field[2]}"
        else:
            made.type = field[2]
    return message


def _pool() -> DescriptorPool:
    """The few messages that a client needs, by the protocol's field numbers (its section 4.5).

    In a pool of their own: stubs of the same package in one process exclude each other.
    """
    file = FileDescriptorProto(name="lab_inference.proto", package="inference", syntax="proto3")
    parameter = _message(
        "InferParameter", ("bool_param", 1, Kind.TYPE_BOOL), ("int64_param", 2, Kind.TYPE_INT64),
        ("string_param", 3, Kind.TYPE_STRING), ("double_param", 4, Kind.TYPE_DOUBLE),
    )  # fmt: skip
    parameter.oneof_decl.add(name="parameter_choice")
    for field in parameter.field:
        field.oneof_index = 0
    entry = _message(
        "ParametersEntry", ("key", 1, Kind.TYPE_STRING), ("value", 2, "InferParameter")
    )
    entry.options.map_entry = True
    request = _message(
        "ModelInferRequest", ("model_name", 1, Kind.TYPE_STRING),
        repeated=(("parameters", 4, "ModelInferRequest.ParametersEntry"), ("inputs", 5, "Tensor"),
                  ("raw_input_contents", 7, RAW)),
    )  # fmt: skip
    request.nested_type.add().CopyFrom(entry)
    response = _message(
        "ModelInferResponse", repeated=(("outputs", 5, "Tensor"), ("raw_output_contents", 6, RAW))
    )
    contents = _message(
        "Contents",
        repeated=(("bool_contents", 1, Kind.TYPE_BOOL), ("int_contents", 2, Kind.TYPE_INT32),
                  ("int64_contents", 3, Kind.TYPE_INT64), ("fp32_contents", 6, Kind.TYPE_FLOAT),
                  ("fp64_contents", 7, Kind.TYPE_DOUBLE), ("bytes_contents", 8, RAW)),
    )  # fmt: skip
    tensor = _message("Tensor", *TENSOR, ("contents", 5, "Contents"), repeated=(SHAPE,))
    for message in (parameter, contents, tensor, request, response):
        file.message_type.add().CopyFrom(message)
    pool = DescriptorPool()
    pool.Add(file)
    return pool


POOL = _pool()
REQUEST: Any = GetMessageClass(POOL.FindMessageTypeByName("inference.ModelInferRequest"))
RESPONSE: Any = GetMessageClass(POOL.FindMessageTypeByName("inference.ModelInferResponse"))


def encode(task: Task, request: BaseModel) -> Encoded:
    name, elements, others = oip_rest.split(request)
    message = REQUEST(model_name=task.name, raw_input_contents=[oip_rest.packed(elements)])
    message.inputs.add(name=name, datatype="BYTES", shape=[len(elements)])
    kinds = {bool: "bool_param", int: "int64_param", float: "double_param", str: "string_param"}
    for key, value in others.items():
        setattr(message.parameters[key], kinds[type(value)], value)
    return Encoded(METHOD, message.SerializeToString(), {})


def read(_target: str, content: bytes) -> Any:
    """Output → its values, or its bytes where they come raw."""
    message = RESPONSE.FromString(content)
    outputs = {}
    for number, output in enumerate(message.outputs):
        if message.raw_output_contents:
            raw = message.raw_output_contents[number]
            outputs[output.name] = raw.decode("utf-8", errors="replace")
        else:
            values = MessageToDict(output.contents, preserving_proto_field_name=True)
            outputs[output.name] = next(iter(values.values()), [])
    return outputs
