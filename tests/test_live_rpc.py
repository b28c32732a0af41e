"""Live speech over gRPC: events, and what is wrong with a stream as its status."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from fake_live import Hearing, spoken

from service.pb import attendant_pb2 as pb
from service.rpc import RpcServer


def called(
    engine: Hearing, messages: list[pb.LiveAudio | bytes]
) -> tuple[list[pb.LiveEvent], grpc.StatusCode, str]:
    async def call() -> tuple[list[pb.LiveEvent], grpc.StatusCode, str]:
        server = RpcServer(engine, "127.0.0.1:0", None)
        await server.start()
        events: list[pb.LiveEvent] = []

        async def sent() -> AsyncIterator[bytes]:
            for one in messages:
                yield one if isinstance(one, bytes) else one.SerializeToString()

        async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
            stream = channel.stream_stream("/attendant.v1.Attendant/TranscribeLive")(sent())
            try:
                async for raw in stream:
                    events.append(pb.LiveEvent.FromString(raw))
            except grpc.aio.AioRpcError:
                pass
            code, details = await stream.code(), await stream.details()
        await server.stop(0)
        return events, code, details

    return asyncio.run(asyncio.wait_for(call(), 20))


def test_a_grpc_stream_takes_samples_and_gives_events() -> None:
    samples = spoken(2)
    messages: list[Any] = [
        pb.LiveAudio(audio=samples[at : at + 6_400]) for at in range(0, len(samples), 6_400)
    ]
    engine = Hearing()
    opening = pb.LiveAudio(language="en", rate_hz=16_000)
    events, code, _ = called(engine, [opening, *messages])
    assert code is grpc.StatusCode.OK
    assert (events[-1].type, events[-1].text) == ("end", "one two three four")
    assert {request.language for request in engine.requests} == {"en"}


@pytest.mark.parametrize(
    ("message", "code", "words_"),
    [
        (pb.LiveAudio(rate_hz=1), grpc.StatusCode.INVALID_ARGUMENT, "rate_hz"),
        (pb.LiveAudio(language="english"), grpc.StatusCode.INVALID_ARGUMENT, "language"),
        (b"\xff\xff", grpc.StatusCode.INVALID_ARGUMENT, "not a LiveAudio"),
        (pb.LiveAudio(audio=bytes(300_000)), grpc.StatusCode.INVALID_ARGUMENT, "262144"),
    ],
)
def test_what_is_wrong_with_a_grpc_stream_is_its_status(
    message: Any, code: grpc.StatusCode, words_: str
) -> None:
    events, seen, details = called(Hearing(), [message])
    assert (events, seen) == ([], code)
    assert words_ in details


def test_an_empty_grpc_stream_ends_with_nothing() -> None:
    events, code, _ = called(Hearing(), [])
    assert code is grpc.StatusCode.OK
    assert [event.type for event in events] == ["end"]
