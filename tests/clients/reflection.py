"""grpcio-reflection's client against a service: all services and messages, and calls without stubs.

Arguments: HTTP port, gRPC port, folder of examples.
"""

import sys
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)

examples = Path(sys.argv[3])
with grpc.insecure_channel(f"127.0.0.1:{sys.argv[2]}") as channel:
    database = ProtoReflectionDescriptorDatabase(channel)
    services = {*database.get_services()}
    pool = DescriptorPool(database)
    assert services == {
        "attendant.v1.Attendant",
        "inference.GRPCInferenceService",
        "grpc.health.v1.Health",
        "grpc.reflection.v1alpha.ServerReflection",
    }

    def call(service: str, method: str, /, **fields: Any) -> Any:
        """As grpcurl does: what the service says of itself is all that is known of it."""
        assert service in services
        described = pool.FindServiceByName(service).methods_by_name[method]
        ask = GetMessageClass(described.input_type)
        answer = GetMessageClass(described.output_type)
        path = f"/{service}/{method}"
        return channel.unary_unary(
            path,
            request_serializer=ask.SerializeToString,
            response_deserializer=answer.FromString,
        )(ask(**fields))

    ours, oip = "attendant.v1.Attendant", "inference.GRPCInferenceService"
    said = call(ours, "Translate", text=["Where is the library?"], source="en", target="de")
    assert said.translations[0].text == "Wo ist die Bibliothek?"
    image, word, speech = (
        (examples / name).read_bytes() for name in ("cat.jpg", "yes.flac", "speech.flac")
    )
    assert call(ours, "ClassifyImage", image=image).labels[0].label == "cat"
    assert call(ours, "ClassifyAudio", audio=word).labels[0].label == "yes"
    assert call(ours, "Transcribe", audio=speech).text
    assert call(oip, "ServerReady").ready
    assert call(oip, "ModelMetadata", name="translation").inputs[0].datatype == "BYTES"
    assert call("grpc.health.v1.Health", "Check", service=oip).status == 1
    text = {"name": "text", "datatype": "BYTES", "shape": [1]}
    inferred = call(
        oip,
        "ModelInfer",
        model_name="translation",
        inputs=[{**text, "contents": {"bytes_contents": [b"Where is the library?"]}}],
        parameters={"source": {"string_param": "en"}, "target": {"string_param": "de"}},
    )
    assert b"Wo ist die Bibliothek?" in inferred.raw_output_contents[0]
    methods = {
        service: {method.name for method in pool.FindServiceByName(service).methods}
        for service in (ours, oip)
    }
    assert {"TranslateStream", "TranscribeStream", "TranscribeLive", "ListModels"} <= methods[ours]
    assert {"ModelStreamInfer", "ModelStatistics", "RepositoryIndex"} <= methods[oip]
    try:
        database.FindFileContainingSymbol("attendant.v1.Nothing")
    except KeyError:
        pass
    else:
        raise AssertionError("a symbol that there is not was found")
