"""messages of a gRPC stream → what its first one asks, and the samples of all."""

from collections.abc import AsyncIterator
from typing import Any

from google.protobuf.message import DecodeError

from service.errors import MalformedRequest
from service.pb import attendant_pb2
from service.pb.convert import to_values


def _values(raw: bytes) -> dict[str, Any]:
    try:
        return to_values(attendant_pb2.LiveAudio.FromString(raw))
    except DecodeError as error:
        raise MalformedRequest("the message is not a LiveAudio") from error


async def opened(raws: AsyncIterator[bytes]) -> tuple[dict[str, Any], AsyncIterator[bytes]]:
    """The fields of the first message, and the samples of it and of those that follow."""
    async for raw in raws:
        first = _values(raw)
        break
    else:
        first = {}
    audio = first.pop("audio", b"")

    async def chunks() -> AsyncIterator[bytes]:
        yield audio
        async for raw in raws:
            yield _values(raw).get("audio", b"")

    return first, chunks()
