"""attendant.proto → its descriptor, or the Python stubs beside it. Needs grpcio-tools."""

from pathlib import Path
from tempfile import TemporaryDirectory

from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from grpc_tools import protoc  # type: ignore[import-untyped]

ROOT = Path(__file__).parents[2]
PROTO = Path(__file__).with_name("attendant.proto")
MESSAGES = (
    ROOT / "service" / "compat" / "oip" / "pb" / "open_inference.proto",
    PROTO.with_name("graph.proto"),
)
"""Written by hand, and without a service that has stubs of its own."""


def _protoc(*arguments: str) -> None:
    if protoc.main(["protoc", *arguments]):
        raise ValueError(f"protoc refused {arguments[-1]}; its reason stands above")


def descriptor(text: str) -> FileDescriptorProto:
    """What a proto file declares, under the name that the stubs know it by."""
    with TemporaryDirectory() as folder:
        name = PROTO.relative_to(ROOT)
        source, compiled = Path(folder, name), Path(folder, "set")
        source.parent.mkdir(parents=True)
        source.write_text(text)
        _protoc(f"-I{folder}", f"--descriptor_set_out={compiled}", str(source))
        return FileDescriptorSet.FromString(compiled.read_bytes()).file[0]


def write_stubs() -> None:
    """Write attendant_pb2.py, attendant_pb2.pyi and attendant_pb2_grpc.py, and other messages."""
    kinds = ("python", "pyi", "grpc_python")
    _protoc(f"-I{ROOT}", *(f"--{kind}_out={ROOT}" for kind in kinds), str(PROTO))
    for messages in MESSAGES:
        _protoc(f"-I{ROOT}", *(f"--{kind}_out={ROOT}" for kind in kinds[:2]), str(messages))
