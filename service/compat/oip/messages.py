"""protobuf messages of the protocol ↔ what is asked and inferred."""

from collections.abc import Mapping
from typing import Any

from service.compat.oip.infer import Asked, Inferred
from service.compat.oip.pb import open_inference_pb2 as pb
from service.compat.oip.tensors import BYTES, Given, datatype, raw_of
from service.errors import MalformedRequest, Unsupported

CONTENTS = {
    "BOOL": "bool_contents", "INT8": "int_contents", "INT16": "int_contents",
    "INT32": "int_contents", "INT64": "int64_contents", "UINT8": "uint_contents",
    "UINT16": "uint_contents", "UINT32": "uint_contents", "UINT64": "uint64_contents",
    "FP32": "fp32_contents", "FP64": "fp64_contents", BYTES: "bytes_contents",
}  # fmt: skip


def parameters_of(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Values of the members that are set; raises MalformedRequest where none is."""
    found = {}
    for name, parameter in parameters.items():
        member = parameter.WhichOneof("parameter_choice")
        if member is None:
            raise MalformedRequest("has no value", f"parameters.{name[:64]}")
        found[name] = getattr(parameter, member)
    return found


def asked_of(message: pb.ModelInferRequest) -> Asked:
    """What a message asks: its tensors are all raw, or all are in `contents`."""
    raws = message.raw_input_contents
    if raws and len(raws) != len(message.inputs):
        raise MalformedRequest(
            f"{len(raws)} raw tensors for {len(message.inputs)} inputs", "raw_input_contents"
        )
    inputs = []
    for number, one in enumerate(message.inputs):
        where = f"inputs.{one.name[:64]}"
        if "shared_memory_region" in one.parameters:
            raise Unsupported("shared memory is not supported", where)
        said, shape = one.HasField("contents"), list(one.shape)
        if raws:
            if said:
                raise MalformedRequest("comes as raw or as contents, not as both", where)
            inputs.append(Given(one.name, one.datatype, shape, raw=raws[number]))
            continue
        member = CONTENTS.get(one.datatype)
        for field, _ in one.contents.ListFields():
            if field.name != member:
                raise MalformedRequest(f"{field.name} is not for {one.datatype[:16]}", where)
        values = list(getattr(one.contents, member)) if member else None
        inputs.append(Given(one.name, one.datatype, shape, values))
    outputs = [(one.name, parameters_of(one.parameters)) for one in message.outputs]
    return Asked(message.id, parameters_of(message.parameters), inputs, outputs)


def answer_of(message: pb.ModelInferRequest, inferred: Inferred) -> pb.ModelInferResponse:
    """The answer, with raw tensors."""
    answer = pb.ModelInferResponse(
        model_name=message.model_name, model_version=inferred.version, id=message.id
    )
    for name, array in inferred.outputs.items():
        answer.outputs.add(name=name, datatype=datatype(array), shape=array.shape)
        answer.raw_output_contents.append(raw_of(array))
    return answer
