"""speech that is noise, and an engine that hears a word in each half second of it."""

import io
import wave
from typing import Any

import numpy as np

from service.engine import Engine
from service.errors import Problem
from service.log_mel import RATE_HZ
from service.settings import Settings
from service.tasks import automatic_speech_recognition as speech
from service.tasks import task

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
