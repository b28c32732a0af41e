"""Live speech: partial texts that stay, a final one at every pause, bounds, and both doors."""

import asyncio
import io
import json
import wave
from collections.abc import AsyncIterator, Awaitable, Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from service.access.http import Guard
from service.access.keys import Keys
from service.compat.doors import refused
from service.engine import Engine
from service.errors import DeadlineExceeded, InvalidInput, Overloaded, Problem, TooLarge
from service.gate import Gate
from service.live import session as sessions
from service.live.agreement import Agreement
from service.live.endpoint import FRAME, Endpointer
from service.live.session import Bounds, LiveEvent, Session
from service.live.streams import Streams
from service.live.websocket import LiveDoor
from service.log_mel import RATE_HZ
from service.pb import attendant_pb2 as pb
from service.rpc import RpcServer
from service.settings import Settings
from service.tasks import automatic_speech_recognition as speech
from service.tasks import task

PATH = "/automatic-speech-recognition/live"
WORDS = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]


def spoken(seconds: float, level: float = 0.1, rate_hz: int = RATE_HZ) -> bytes:
    """Something loud that lasts so long, as samples of 16 bits."""
    noise = np.random.default_rng(0).normal(0, level, int(seconds * rate_hz))
    return (noise.clip(-1, 1) * 32_767).astype("<i2").tobytes()


def silent(seconds: float) -> bytes:
    return bytes(2 * int(seconds * RATE_HZ))


def duration_s(audio: bytes) -> float:
    with wave.open(io.BytesIO(audio)) as file:
        assert (file.getnchannels(), file.getframerate()) == (1, RATE_HZ)
        return file.getnframes() / RATE_HZ


async def words(audio: bytes) -> str:
    """A word for each half second."""
    return " ".join(WORDS[: int(2 * duration_s(audio))])


async def each(chunks: list[bytes]) -> AsyncIterator[bytes]:
    for chunk in chunks:
        for at in range(0, len(chunk), 6_400):
            yield chunk[at : at + 6_400]
            await asyncio.sleep(0.001)


def heard(
    *chunks: bytes, ask: Callable[[bytes], Awaitable[str]] = words, **options: Any
) -> list[LiveEvent]:
    async def listen() -> list[LiveEvent]:
        bounds = options.pop("bounds", Bounds(60, 30))
        asked = {"rate_hz": RATE_HZ, "ending": lambda: False, **options}
        session = Session(ask, bounds, **asked)
        async with asyncio.timeout(20):
            return [event async for event in session.events(each(list(chunks)))]

    return asyncio.run(listen())


def test_words_stay_once_two_transcripts_agree_on_them() -> None:
    agreement = Agreement()
    assert agreement.add("Good mourning") == ("", "Good mourning")
    assert agreement.add("Good morning, please") == ("Good", "morning, please")
    assert agreement.add("good morning. Please open") == ("Good morning. Please", "open")
    assert agreement.add("") == ("Good morning. Please", "")
    assert agreement.add("Good evening") == ("Good morning. Please", "")


def test_speech_is_what_is_louder_than_the_room() -> None:
    endpointer = Endpointer()

    def hear(level: float, seconds: float) -> None:
        samples = np.random.default_rng(0).normal(0, level, int(seconds * RATE_HZ))
        for frame in samples.astype(np.float32).reshape(-1, FRAME):
            endpointer.hear(frame)

    hear(0.001, 3)
    assert endpointer.voiced_s < 0.1
    hear(0.1, 1)
    assert endpointer.voiced_s == pytest.approx(1, abs=0.1)
    assert not endpointer.paused
    hear(0.001, 1)
    assert endpointer.paused
    endpointer.begin()
    hear(0.001, 1)
    assert not endpointer.paused


def test_partials_grow_and_a_pause_makes_them_final() -> None:
    events = heard(silent(1), spoken(2), silent(1), spoken(1), silent(0.2))
    partials = [event for event in events if event.type == "partial"]
    finals = [event for event in events if event.type == "final"]
    assert len(partials) >= 2
    first = [one for one in partials if one.end_s <= finals[0].end_s]
    for before, after in pairwise(first):
        assert after.text.startswith(before.text)
    assert [event.text.split()[:2] for event in finals] == [["one", "two"]] * 2
    assert finals[0].start_s == pytest.approx(0.7, abs=0.1)
    assert finals[0].end_s == pytest.approx(3.6, abs=0.1)
    assert finals[1].start_s == pytest.approx(3.7, abs=0.1)
    assert events[-1].type == "end"
    assert events[-1].text == " ".join(final.text for final in finals)
    assert events[-1].end_s == pytest.approx(5.2)


def test_the_first_partial_comes_with_a_fifth_of_a_second_of_speech() -> None:
    asked: list[float] = []

    async def ask(audio: bytes) -> str:
        asked.append(duration_s(audio))
        return "go"

    (first, *_) = heard(spoken(1), ask=ask)
    assert (first.type, first.tentative) == ("partial", "go")
    assert asked[0] <= 0.45


def test_silence_is_neither_transcribed_nor_kept() -> None:
    async def ask(audio: bytes) -> str:
        raise AssertionError("nobody spoke")

    assert [event.type for event in heard(silent(20), ask=ask)] == ["end"]


def test_speech_without_a_pause_is_cut() -> None:
    finals = [one for one in heard(spoken(40)) if one.type == "final"]
    assert [one.end_s for one in finals] == [28.0, 40.0]


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 44_100])
def test_every_rate_is_resampled(rate_hz: int) -> None:
    events = heard(spoken(1.5, rate_hz=rate_hz), rate_hz=rate_hz)
    assert events[-1].end_s == pytest.approx(1.5, abs=0.01)
    assert events[-1].text.startswith("one two")


def test_a_sample_may_be_cut_in_two() -> None:
    whole = spoken(1)
    assert heard(whole[:1001], whole[1001:])[-1].text == heard(whole)[-1].text


def test_a_client_that_falls_silent_gets_its_final_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "LEAVE_S", 0.2)

    async def chunks() -> AsyncIterator[bytes]:
        yield spoken(1)
        await asyncio.sleep(30)

    async def listen() -> LiveEvent:
        session = Session(words, Bounds(60, 30), rate_hz=RATE_HZ, ending=lambda: False)
        events = session.events(chunks())
        async with asyncio.timeout(10):
            async for event in events:
                if event.type == "final":
                    await events.aclose()
                    return event
        raise AssertionError("no final text")

    assert asyncio.run(listen()).text == "one two"


def test_a_stream_that_brings_nothing_or_too_much_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "LEAVE_S", 0.05)

    async def nothing() -> AsyncIterator[bytes]:
        await asyncio.sleep(30)
        yield b""

    async def listen(chunks: AsyncIterator[bytes]) -> None:
        session = Session(words, Bounds(2, 0.1), rate_hz=RATE_HZ, ending=lambda: False)
        async for _ in session.events(chunks):
            pass

    with pytest.raises(DeadlineExceeded, match="no audio for 0"):
        asyncio.run(listen(nothing()))
    with pytest.raises(TooLarge, match="at most 2 s"):
        asyncio.run(listen(each([spoken(3)])))

    async def one_chunk() -> AsyncIterator[bytes]:
        yield bytes(sessions.MAX_CHUNK_BYTES + 2)

    with pytest.raises(TooLarge, match="at a time"):
        asyncio.run(listen(one_chunk()))
    with pytest.raises(InvalidInput, match="8000 to 48000"):
        heard(rate_hz=96_000)


def test_an_overload_delays_partials_and_loses_no_final() -> None:
    tries = 0

    async def ask(audio: bytes) -> str:
        nonlocal tries
        tries += 1
        if tries % 3:
            raise Overloaded("full", retry_after_s=0.001)
        return "heard"

    events = heard(spoken(0.8), silent(1), ask=ask)
    assert [event.text for event in events if event.type == "final"] == ["heard"]

    async def always(audio: bytes) -> str:
        raise Overloaded("full", retry_after_s=0.001)

    with pytest.raises(Overloaded):
        heard(spoken(0.3), ask=always)


def test_a_service_that_stops_ends_the_stream_with_what_was_said() -> None:
    stopping = False

    async def ask(audio: bytes) -> str:
        nonlocal stopping
        stopping = True
        return "so far"

    events = heard(spoken(5), ask=ask, ending=lambda: stopping)
    assert [event.type for event in events][-2:] == ["final", "end"]
    assert events[-1].end_s < 5


class Hearing(Engine):
    """An engine that says a word for each half second."""

    fault: Problem | None = None

    def __init__(self, **settings: Any) -> None:
        super().__init__([task("automatic-speech-recognition")], Settings(threads=1, **settings))
        self.requests: list[speech.Request] = []

    async def answer(self, task: str, request: Any, **options: Any) -> Any:
        if self.fault:
            raise self.fault
        self.requests.append(request)
        text = await words(request.audio)
        return speech.Response(text=text, language="en", duration_s=1, segments=[])


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
