"""A long recording is cut where nobody speaks, transcribed in parallel and joined in its order."""

import asyncio
import io
from collections import defaultdict
from collections.abc import Awaitable, Callable
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
import pytest
import soundfile
from fake_whisper import Scripted, folder_of, said

from service import audio
from service.engine import Engine
from service.errors import DeadlineExceeded, InvalidInput, TooLarge
from service.loaded import Loaded
from service.settings import Settings
from service.speech import long, vad
from service.speech.long import Recording, transcribe
from service.speech.pieces import FRAMES, Cutting, pieces
from service.speech.vad import FRAME
from service.tasks import automatic_speech_recognition as speech
from service.tasks import task

TASK = "automatic-speech-recognition"
RATE_HZ = 16_000


@pytest.fixture(scope="module")
def spoken() -> np.ndarray:
    data = speech.example().audio
    return audio.decode(data, field="audio", rate_hz=RATE_HZ, max_duration_s=60)


def silence(seconds: float) -> np.ndarray:
    return np.zeros(round(seconds * RATE_HZ), np.float32)


def wav(samples: np.ndarray) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, RATE_HZ, format="WAV", subtype="PCM_16")
    return file.getvalue()


def cut(samples: np.ndarray, blocks: int = 1) -> list[tuple[int, np.ndarray]]:
    return list(pieces(np.array_split(samples, blocks), Cutting()))


def test_silence_is_left_out_and_long_silence_cuts(spoken: np.ndarray) -> None:
    samples = np.concatenate([silence(5), spoken, silence(10), spoken, silence(2)])
    found = cut(samples)
    assert len(found) == 2
    second_s = 15 + len(spoken) / RATE_HZ
    for (start, piece), begins_s in zip(found, (5, second_s), strict=True):
        assert begins_s - 0.5 < start / RATE_HZ < begins_s + 0.5
        assert len(piece) <= len(spoken) + RATE_HZ
        np.testing.assert_array_equal(piece, samples[start : start + len(piece)])


def test_pieces_are_the_same_however_the_recording_comes(spoken: np.ndarray) -> None:
    samples = np.concatenate([spoken] * 12)
    whole = cut(samples)
    assert len(whole) >= 2
    assert all(len(piece) <= FRAMES * FRAME for _, piece in whole)
    for blocks in (3, 100):
        others = cut(samples, blocks)
        assert [start for start, _ in others] == [start for start, _ in whole]


def test_speech_without_a_pause_is_cut_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Always(vad.Listener):
        def hear(self, samples: np.ndarray) -> np.ndarray:
            return np.ones(len(samples) // FRAME, np.float32)

    monkeypatch.setattr("service.speech.pieces.Listener", Always)
    samples = np.arange(100 * RATE_HZ, dtype=np.float32)
    found = cut(samples, 7)
    assert all(len(piece) <= FRAMES * FRAME for _, piece in found)
    joined = np.concatenate([piece for _, piece in found])
    np.testing.assert_array_equal(joined[: len(samples)], samples)


def test_silence_has_no_pieces() -> None:
    assert cut(silence(100), 3) == []


def with_engine(folder: Path, scenario: Callable[[Engine], Awaitable[None]]) -> None:
    """An engine whose Whisper says the same of every piece."""

    async def run() -> None:
        engine = Engine([task("automatic_speech_recognition")], Settings(threads=1))
        assets = speech.load_assets(folder_of(folder))
        words = said(assets, " One.")
        whisper = Scripted(assets, defaultdict(lambda: words))
        whisper.said_before = 1
        engine.serve(engine.tasks[TASK], f"{TASK}:1", whisper, assets)
        async with asyncio.timeout(60):
            await scenario(engine)
        await engine.close()

    asyncio.run(run())


def loaded_in(engine: Engine) -> Loaded:
    loaded = engine.find(TASK).loaded
    assert loaded is not None
    return loaded


def recording(data: bytes, **more: Any) -> Recording:
    known = {"max_duration_s": 3_600, "deadline_s": monotonic() + 60}
    return Recording(data, speech.Request(audio=b"-"), **{**known, **more})


def test_pieces_come_in_their_order_and_joined_are_the_text(
    tmp_path: Path, spoken: np.ndarray
) -> None:
    samples = np.concatenate([np.concatenate([spoken, silence(4)]) for _ in range(40)])

    async def scenario(engine: Engine) -> None:
        stream = transcribe(engine, engine.find(TASK), recording(wav(samples)))
        *texts, answer = [event async for event in stream]
        assert isinstance(answer, speech.Response)
        assert len(texts) == len(answer.segments) == 40
        assert "".join(str(text) for text in texts) == answer.text == " ".join(["One."] * 40)
        starts = [segment.start_s for segment in answer.segments]
        assert starts == sorted(starts)
        assert starts[-1] > 300
        assert answer.duration_s == round(len(samples) / RATE_HZ, 3)
        assert answer.model == f"{TASK}:1"

    with_engine(tmp_path, scenario)


def test_a_full_queue_is_waited_for(
    tmp_path: Path, spoken: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples = np.concatenate([np.concatenate([spoken, silence(4)]) for _ in range(12)])

    async def scenario(engine: Engine) -> None:
        queue = loaded_in(engine).lane.queue
        queue.max_cost = 2
        *_, answer = [
            e async for e in transcribe(engine, engine.find(TASK), recording(wav(samples)))
        ]
        assert isinstance(answer, speech.Response)
        assert len(answer.segments) == 12

    monkeypatch.setattr(long, "WAIT_S", 0.01)
    with_engine(tmp_path, scenario)


@pytest.mark.parametrize(
    ("more", "error"),
    [
        ({"max_duration_s": 30}, TooLarge),
        ({"deadline_s": 0.0}, DeadlineExceeded),
        ({"request": speech.Request(audio=b"-", language="xx")}, InvalidInput),
    ],
)
def test_what_cannot_be_served_is_refused(
    tmp_path: Path, spoken: np.ndarray, more: dict[str, Any], error: type[Exception]
) -> None:
    asked = recording(wav(np.concatenate([spoken] * 10)))
    for name, value in more.items():
        setattr(asked, name, value)

    async def scenario(engine: Engine) -> None:
        with pytest.raises(error):
            [event async for event in transcribe(engine, engine.find(TASK), asked)]
        assert loaded_in(engine).gate.inside == 0

    with_engine(tmp_path, scenario)


def test_closing_the_stream_drops_what_is_under_way(tmp_path: Path, spoken: np.ndarray) -> None:
    samples = np.concatenate([np.concatenate([spoken, silence(4)]) for _ in range(20)])

    async def scenario(engine: Engine) -> None:
        stream = transcribe(engine, engine.find(TASK), recording(wav(samples)))
        await anext(stream)
        await stream.aclose()
        await asyncio.sleep(0)
        assert loaded_in(engine).gate.inside == 0
        assert loaded_in(engine).lane.queue.cost == 0

    with_engine(tmp_path, scenario)
