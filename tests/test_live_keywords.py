"""Keywords while they are spoken: over both doors, with bounded state, and none of the future."""

import asyncio
import io
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import numpy as np
import pytest
import soundfile
import uvicorn
from fake_keywords import CONFIG, LABELS, TONE_S, pcm, sound, trained

from export.model import export_model
from export.source import Trained
from models.architectures import keyword_transformer
from models.architectures.keyword_transformer import STREAMED, STRIDE, Stream
from models.catalogue import architecture
from models.reference import Reference
from service import manifest as manifests
from service.engine import Engine
from service.errors import DeadlineExceeded, InvalidInput, Overloaded, TooLarge
from service.gate import Gate
from service.live import incoming as incomings
from service.live.events import KeywordEvent
from service.live.incoming import Bounds, Incoming
from service.live.keywords import Hearing, KeywordSession
from service.live.spotter import FORGOTTEN, SURE, Spotter
from service.live.websocket import LiveDoor
from service.manifest import Data
from service.pb import attendant_pb2 as pb
from service.pb import attendant_pb2_grpc as pb_grpc
from service.rpc import RpcServer
from service.settings import Settings
from service.tasks import Item, Row, task
from service.tasks import audio_classification as keywords

PATH = "/audio-classification/live"
SAID = {1.0: "low", 2.0: "high", 3.5: "low"}
CHUNK = 1_280
"""Bytes of 40 ms."""


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the model that knows three tones."""
    folder = tmp_path_factory.mktemp("keywords")
    (folder / "labels.json").write_text(json.dumps(LABELS))
    made = Trained(
        architecture("keyword_transformer"),
        trained(),
        assets=[folder / "labels.json"],
        data=Data(source="none", licence="none"),
        recipe={},
    )
    target = folder / "audio-classification"
    manifest = export_model(made, name="audio-classification", target="cpu", folder=target)
    ops = {name: graph.attention_ops for name, graph in manifest.parity.graphs.items()}
    assert ops == {
        name: {"MultiHeadAttention": CONFIG.layers} for name in ("model", "attention", "stream")
    }
    return target


async def engine_of(published: Path, **settings: Any) -> Engine:
    engine = Engine([task("audio-classification")], Settings(threads=1, **settings))
    await engine.load(engine.tasks["audio-classification"], published)
    assert engine.ready()
    return engine


async def each(data: bytes, size: int = CHUNK) -> AsyncIterator[bytes]:
    for at in range(0, len(data), size):
        yield data[at : at + size]
        await asyncio.sleep(0)


async def torch_rows(items: Sequence[Item]) -> Sequence[Row]:
    runner = Reference(keyword_transformer.graphs(trained()))
    return keywords.forward(runner, keywords.Assets(LABELS), items)


HEARING = Hearing(Stream(trained()).frames, LABELS)


def session(
    ask: Callable[[Sequence[Item]], Awaitable[Sequence[Row]]] = torch_rows,
    *,
    bounds: Bounds | None = None,
    rate_hz: int = 16_000,
) -> KeywordSession:
    incoming = Incoming(bounds or Bounds(60, 30), rate_hz=rate_hz, ending=lambda: False)
    return KeywordSession(ask, HEARING, incoming)


def told(of: KeywordSession, chunks: AsyncIterator[bytes]) -> list[KeywordEvent]:
    async def listen() -> list[KeywordEvent]:
        async with asyncio.timeout(30):
            return [event async for event in of.events(chunks)]

    return asyncio.run(listen())


def spotted(events: Sequence[KeywordEvent]) -> list[str]:
    return [event.label for event in events if event.type == "keyword"]


def test_keywords_come_with_their_times_and_the_end_last() -> None:
    events = told(session(), each(pcm(sound(5, SAID))))
    assert spotted(events) == list(SAID.values())
    for event, start_s in zip(events, SAID, strict=False):
        assert event.score >= SURE
        assert start_s - 0.2 <= event.start_s <= event.end_s <= start_s + TONE_S + 0.2
    assert (events[-1].type, events[-1].end_s) == ("end", 5.0)


@pytest.mark.parametrize("size", [2, 999, 100_000])
def test_how_samples_are_cut_into_messages_changes_nothing(size: int) -> None:
    data = pcm(sound(2, {0.7: "middle"}))
    assert told(session(), each(data, size)) == told(session(), each(data))


def test_noise_alone_is_no_keyword() -> None:
    assert spotted(told(session(), each(pcm(sound(10))))) == []


@pytest.mark.parametrize("rate_hz", [8_000, 44_100])
def test_every_rate_is_resampled(rate_hz: int) -> None:
    import soxr

    samples = soxr.resample(sound(3, {1.0: "low"}), 16_000, rate_hz)
    assert spotted(told(session(rate_hz=rate_hz), each(pcm(samples)))) == ["low"]


def logits_by_time(samples: np.ndarray) -> dict[int, np.ndarray]:
    """Frame of the stream → what is said of the position in its middle."""
    found: dict[int, np.ndarray] = {}
    at: list[int] = []

    async def ask(items: Sequence[Item]) -> Sequence[Row]:
        rows = await torch_rows(items)
        for row in rows:
            start = len(at) * STREAMED * STRIDE - HEARING.frames
            at.append(start)
            if start > -HEARING.frames:  # the first only asks how long a step is
                found.update(zip((row["middles"] + start).tolist(), row["logits"], strict=True))
        return rows

    told(session(ask), each(pcm(samples)))
    return found


def test_what_is_said_of_a_moment_depends_on_no_audio_beyond_the_look_ahead() -> None:
    samples = sound(3, {0.5: "low", 1.4: "high"})
    split = 24_000
    other = samples.copy()
    other[split:] = sound(3, {1.6: "middle"}, seed=9)[split:]
    before, after = logits_by_time(samples), logits_by_time(other)
    assert sorted(before) == sorted(after)
    _, behind = CONFIG.window or (0, 0)
    # Frames of 400 samples every 160; the stem reaches three of them, each layer its window.
    reach = STRIDE * CONFIG.layers * behind + 3
    whole = (split - 400) // 160
    spoken = [frame for frame in before if frame < 300]  # then there is silence in both
    same = [frame for frame in spoken if np.array_equal(before[frame], after[frame])]
    assert same == [frame for frame in spoken if frame + reach <= whole]


def test_what_is_kept_of_a_stream_does_not_grow() -> None:
    of, sizes = session(), []

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(200):
            yield pcm(sound(0.1))
            await asyncio.sleep(0.001)
            sizes.append(len(of._frames) * HEARING.frames + len(of._samples))

    told(of, chunks())
    assert max(sizes[50:]) <= max(sizes[:50])


def test_the_bounds_of_streams_hold_here_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(incomings, "LEAVE_S", 0.05)

    async def nothing() -> AsyncIterator[bytes]:
        await asyncio.sleep(30)
        yield b""

    with pytest.raises(DeadlineExceeded, match="no audio for 0"):
        told(session(bounds=Bounds(60, 0.1)), nothing())
    with pytest.raises(TooLarge, match="at most 2 s"):
        told(session(bounds=Bounds(2, 30)), each(pcm(sound(3))))
    with pytest.raises(TooLarge, match="at a time"):
        told(session(), each(bytes(300_000), 300_000))
    with pytest.raises(InvalidInput, match="8000 to 48000"):
        session(rate_hz=1)


def test_an_overload_delays_a_keyword_and_loses_none() -> None:
    tries = 0

    async def ask(items: Sequence[Item]) -> Sequence[Row]:
        nonlocal tries
        tries += 1
        if tries % 3:
            raise Overloaded("full", retry_after_s=0.001)
        return await torch_rows(items)

    async def never(items: Sequence[Item]) -> Sequence[Row]:
        raise Overloaded("full", retry_after_s=0.001)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Overloaded, "retry_after", lambda self: 0.001)
        assert spotted(told(session(ask), each(pcm(sound(2, {0.7: "low"}))))) == ["low"]
        with pytest.raises(Overloaded):
            told(session(never), each(pcm(sound(1))))


def test_a_keyword_is_told_once_until_it_is_forgotten() -> None:
    spotter = Spotter(LABELS)

    def hear(seconds: range, *logits: float) -> list[str]:
        made = (spotter.hear(np.array(logits, np.float32), at / 25) for at in seconds)
        return [each.label for each in made if each]

    assert SURE > FORGOTTEN
    assert hear(range(25), 5, 0, 0, 0) == []
    assert hear(range(25, 75), 0, 9, 0, 0) == ["low"]
    assert hear(range(75, 100), 0, 9, 0, 20) == ["high"]
    assert hear(range(100, 150), 9, 0, 0, 0) == []
    assert hear(range(150, 175), 0, 9, 0, 0) == ["low"]


def test_nothing_is_told_of_a_few_positions() -> None:
    spotter = Spotter(LABELS)
    heard = [spotter.hear(np.array((0, 9, 0, 0), np.float32), at / 25) for at in range(20)]
    assert [each is not None for each in heard] == [at == 13 for at in range(20)]


@asynccontextmanager
async def doors(published: Path, **settings: Any) -> AsyncIterator[tuple[str, grpc.aio.Channel]]:
    """A server of both doors in this process: the address of its sockets, and a channel."""
    engine, gate = await engine_of(published, **settings), Gate()
    rpc = RpcServer(engine, "127.0.0.1:0", None)
    await rpc.start()

    async def absent(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError("nothing else is asked")

    app = LiveDoor(engine, gate, absent)
    config = uvicorn.Config(app, log_config=None, lifespan="off", ws="wsproto")
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        serving = asyncio.create_task(server.serve([listening]))
        address = f"ws://127.0.0.1:{listening.getsockname()[1]}{PATH}"
        async with grpc.aio.insecure_channel(f"127.0.0.1:{rpc.port}") as channel:
            yield address, channel
        server.should_exit = True
        await serving
    await rpc.stop(0)
    await engine.close()


async def over_socket(address: str, data: bytes, query: str = "") -> list[dict[str, Any]]:
    async with aiohttp.ClientSession() as client, client.ws_connect(address + query) as opened:
        for at in range(0, len(data), CHUNK):
            await opened.send_bytes(data[at : at + CHUNK])
        await opened.send_str(json.dumps({"type": "end"}))
        return [json.loads(message.data) async for message in opened]


async def over_grpc(
    channel: grpc.aio.Channel, messages: Sequence[pb.LiveAudio]
) -> tuple[list[pb.KeywordEvent], grpc.StatusCode, str]:
    stub = pb_grpc.AttendantStub(channel)
    call = stub.ClassifyAudioLive(iter(messages))
    events = []
    try:
        async for event in call:
            events.append(event)
    except grpc.aio.AioRpcError:
        pass
    return events, await call.code(), await call.details()


def run(scenario: Callable[[str, grpc.aio.Channel], Awaitable[None]], published: Path) -> None:
    async def scene() -> None:
        async with asyncio.timeout(60), doors(published, live_streams=2) as (address, channel):
            await scenario(address, channel)

    asyncio.run(scene())


def test_both_doors_tell_the_same_keywords_as_they_are_spoken(published: Path) -> None:
    data = pcm(sound(5, SAID))

    async def scenario(address: str, channel: grpc.aio.Channel) -> None:
        by_socket = await over_socket(address, data, "?rate_hz=16000&model=audio-classification")
        assert [each["label"] for each in by_socket] == [*SAID.values(), ""]
        assert by_socket[-1] == {
            "type": "end", "label": "", "score": 0.0, "start_s": 0.0, "end_s": 5.0,
        }  # fmt: skip
        messages = [pb.LiveAudio(audio=data[at : at + CHUNK]) for at in range(0, len(data), CHUNK)]
        by_grpc, code, _ = await over_grpc(channel, [pb.LiveAudio(rate_hz=16_000), *messages])
        assert code is grpc.StatusCode.OK
        assert [(each.label, each.start_s) for each in by_grpc] == [
            (each["label"], each["start_s"]) for each in by_socket
        ]

    run(scenario, published)


def test_a_keyword_comes_before_its_stream_ends(published: Path) -> None:
    async def scenario(address: str, channel: grpc.aio.Channel) -> None:
        data = pcm(sound(2.5, {0.5: "high"}))
        async with aiohttp.ClientSession() as client, client.ws_connect(address) as opened:
            await opened.send_bytes(data)
            assert (await opened.receive_json())["label"] == "high"

    run(scenario, published)


def test_streams_that_cannot_be_served_are_told_why(published: Path) -> None:
    cases = [
        ("?language=en", pb.LiveAudio(language="en"), 422, "language: there is no such field"),
        ("?rate_hz=1", pb.LiveAudio(rate_hz=1), 422, "rate_hz: is from 8000"),
        ("?model=none", pb.LiveAudio(model="none"), 404, "model: there is no model"),
    ]

    async def scenario(address: str, channel: grpc.aio.Channel) -> None:
        for query, message, status, words in cases:
            (event,) = await over_socket(address, b"", query)
            assert (event["type"], event["status"]) == ("problem", status)
            assert words in event["error"]
            events, code, details = await over_grpc(channel, [message])
            assert not events
            assert code in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND)
            assert words in details

    run(scenario, published)


def test_only_so_many_keyword_streams_are_open_on_a_door(published: Path) -> None:
    async def scenario(address: str, channel: grpc.aio.Channel) -> None:
        async with aiohttp.ClientSession() as client:
            first, second = await client.ws_connect(address), await client.ws_connect(address)
            for each in (first, second):
                await each.send_bytes(pcm(sound(2.5, {0.5: "low"})))
                assert (await each.receive_json())["label"] == "low"
            (event,) = await over_socket(address, b"")
            assert event["status"] == 429
            await first.close()
            await second.close()

    run(scenario, published)


def test_a_model_that_hears_whole_recordings_is_no_model_for_streams() -> None:
    shipped = manifests.SHIPPED / "audio-classification"

    async def scenario(address: str, channel: grpc.aio.Channel) -> None:
        (event,) = await over_socket(address, b"")
        assert (event["status"], event["field"]) == (422, "model")
        assert "truncated attention" in event["detail"]
        _, code, details = await over_grpc(channel, [pb.LiveAudio()])
        assert code is grpc.StatusCode.INVALID_ARGUMENT
        assert "truncated attention" in details

    run(scenario, shipped)


def test_a_truncated_model_answers_recordings_too_in_the_same_batches(published: Path) -> None:
    async def ask() -> None:
        engine = await engine_of(published)
        file = io.BytesIO()
        soundfile.write(file, sound(1, {0.3: "middle"}), 16_000, format="WAV")
        request = keywords.Request(audio=file.getvalue())
        answer: Any = await engine.answer("audio-classification", request)
        assert answer.labels[0].label == "middle"
        loaded = await engine.opened(engine.find("audio-classification"))
        clip, piece = keywords.preprocess(request, loaded.assets)[0], np.zeros((HEARING.frames, 64))
        items: list[Item] = [{"frames": piece.astype(np.float32)}, clip, clip]
        rows, _, _ = await engine.rows(engine.find("audio-classification"), items)
        assert [row["logits"].shape for row in rows] == [(STREAMED, 4), (4,), (4,)]
        assert [keywords.cost(item) for item in items] == [HEARING.frames, 98, 98]
        await engine.close()

    asyncio.run(ask())
