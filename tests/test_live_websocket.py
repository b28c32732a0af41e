"""Live speech over a WebSocket: events, refusals, keys, clients that leave; Whisper itself."""

import asyncio
import io
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from fake_live import Hearing, spoken
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from service.access.http import Guard
from service.access.keys import Keys
from service.compat.doors import refused
from service.engine import Engine
from service.gate import Gate
from service.live.events import LiveEvent
from service.live.streams import Streams
from service.live.websocket import LiveDoor
from service.settings import Settings
from service.tasks import automatic_speech_recognition as speech
from service.tasks import task

PATH = "/automatic-speech-recognition/live"


async def absent(scope: Any, receive: Any, send: Any) -> None:
    raise AssertionError("nothing else is asked")


def door(engine: Hearing, gate: Gate | None = None) -> TestClient:
    return TestClient(LiveDoor(engine, gate or Gate(), absent))


def received(socket: Any) -> list[dict[str, Any]]:
    events = [socket.receive_json()]
    while events[-1]["type"] not in ("end", "problem"):
        events.append(socket.receive_json())
    return events


def test_a_socket_takes_samples_and_gives_events() -> None:
    engine = Hearing()
    with door(engine).websocket_connect(f"{PATH}?language=en&rate_hz=16000") as socket:
        for at in range(0, 64_000, 3_200):
            socket.send_bytes(spoken(2)[at : at + 3_200])
        socket.send_json({"type": "end"})
        events = received(socket)
        with pytest.raises(WebSocketDisconnect) as closed:
            socket.receive_json()
    assert closed.value.code == 1000
    assert events[-1]["text"] == "one two three four"
    assert {request.language for request in engine.requests} == {"en"}


@pytest.mark.parametrize(
    ("query", "message", "status", "words_"),
    [
        ("?rate_hz=1", b"", 422, "rate_hz: is from 8000"),
        ("?rate_hz=x", b"", 422, "rate_hz: is a number"),
        ("?language=english", b"", 422, "language"),
        ("?url=http://host/a.wav", b"", 422, "url: there is no such field"),
        ("", "hello", 400, "binary messages"),
        ("", "[" * 500, 400, "binary messages"),
        ("", "x" * 5_000, 400, "binary messages"),
        ("", bytes(300_000), 413, "at most 262144"),
    ],
)
def test_what_is_wrong_with_a_stream_is_told(
    query: str, message: str | bytes, status: int, words_: str
) -> None:
    with door(Hearing()).websocket_connect(PATH + query) as socket:
        if message:
            (socket.send_text if isinstance(message, str) else socket.send_bytes)(message)  # type: ignore[operator]
        (event,) = received(socket)
        assert (event["type"], event["status"]) == ("problem", status)
        assert words_ in event["error"]
        with pytest.raises(WebSocketDisconnect):
            socket.receive_json()


def test_there_are_only_so_many_streams_at_a_time_and_a_closed_gate_takes_none() -> None:
    engine, gate = Hearing(live_streams=1), Gate()
    client = door(engine, gate)
    with client.websocket_connect(PATH) as first:
        first.send_bytes(spoken(0.5))
        assert first.receive_json()["type"] == "partial"
        with client.websocket_connect(PATH) as second:
            (event,) = received(second)
            assert event["status"] == 429
        assert gate.inside == 1
        first.send_json({"type": "end"})
        assert received(first)[-1]["type"] == "end"
    gate.closed = True
    with client.websocket_connect(PATH) as third:
        (event,) = received(third)
        assert event["status"] == 503
    assert gate.inside == 0


def test_a_fault_of_the_service_is_told_without_its_words() -> None:
    engine = Hearing()
    engine.fault = ValueError("secret")  # type: ignore[assignment]
    with door(engine).websocket_connect(PATH) as socket:
        socket.send_bytes(spoken(0.5))
        (event,) = received(socket)
    assert event["status"] == 500
    assert "secret" not in json.dumps(event)


def test_a_client_that_leaves_ends_its_stream() -> None:
    gate = Gate()
    with door(Hearing(), gate).websocket_connect(PATH) as socket:
        socket.send_bytes(spoken(0.5))
        assert socket.receive_json()["type"] == "partial"
    assert gate.inside == 0


def test_there_is_no_other_socket() -> None:
    with pytest.raises(WebSocketDisconnect), door(Hearing()).websocket_connect("/translation/live"):
        pass


def test_a_request_that_is_no_socket_is_told_so() -> None:
    for method in ("GET", "POST"):
        reply = door(Hearing()).request(method, PATH)
        assert (reply.status_code, reply.headers["upgrade"]) == (426, "websocket")


def test_a_socket_asks_for_a_key(tmp_path: Path) -> None:
    keys = Keys(tmp_path / "keys.db", create=True)
    key = keys.make("alice", frozenset({"infer"}))
    engine = Hearing()
    client = TestClient(Guard(LiveDoor(engine, Gate(), absent), keys, engine.settings, refused))
    with pytest.raises(Exception) as caught, client.websocket_connect(PATH):  # noqa: PT011
        pass
    assert getattr(caught.value, "status_code", 403) in (401, 403)
    ways: tuple[dict[str, Any], ...] = (
        {"headers": {"authorization": f"Bearer {key}"}},
        {"params": {"api_key": key}},
    )
    for way in ways:
        query = f"?api_key={key}" if "params" in way else ""
        with client.websocket_connect(PATH + query, headers=way.get("headers", {})) as socket:
            socket.send_json({"type": "end"})
            assert received(socket)[-1]["type"] == "end"
    keys.close()


@pytest.mark.whisper
def test_whisper_hears_the_example_while_it_is_spoken() -> None:
    import soundfile

    from export.source import from_package
    from models.reference import Reference

    trained = from_package("tiny.en")
    samples, rate_hz = soundfile.read(io.BytesIO(speech.example().audio), dtype="int16")

    async def listen() -> list[LiveEvent]:
        engine = Engine([task("automatic-speech-recognition")], Settings(batching="request"))
        runner: Any = Reference(trained.architecture.graphs(trained.model))
        (served,) = engine.tasks.values()
        assets = speech.load_assets(trained.assets[0].parent)
        engine.serve(served, "tiny.en:1", runner, assets)

        async def said() -> AsyncIterator[bytes]:
            for at in range(0, len(samples), rate_hz // 25):
                yield samples[at : at + rate_hz // 25].tobytes()
                await asyncio.sleep(0.04)

        streams = Streams(engine, Gate(), served.name)
        heard = [event async for event in streams.listen({"rate_hz": rate_hz}, said())]
        await engine.close()
        return heard

    events = asyncio.run(listen())
    assert any(event.type == "partial" for event in events)
    assert events[-1].text == "Good morning, please open the window and close the door."
