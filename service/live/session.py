"""16-bit samples as they are spoken → partial texts, and a final one at every pause.

What was said since the last pause is transcribed again and again while it grows, each time as an
ordinary request: it shares batches with all others, of other streams too.
"""

import asyncio
import io
import wave
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

import numpy as np
import soxr
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from service.errors import DeadlineExceeded, InvalidInput, Overloaded, TooLarge
from service.live.agreement import Agreement
from service.live.endpoint import FRAME, PAUSE_S, Endpointer
from service.log_mel import RATE_HZ

FIRST_S = 0.2
"""So much speech is tried for the first time, and so much more as long as nothing is heard."""
STEP_S = 0.4
"""So much more is tried again."""
BEFORE_S = 0.3
"""Of the silence before speech is kept: words begin softly."""
LONGEST_S = 28.0
"""An utterance without a pause is cut here: the model hears 30 s."""
LEAVE_S = 1.0
"""A client that sends nothing for so long has paused."""
AHEAD_BYTES = 2 * 2**20
"""So much may wait, a minute of speech; then the client has to."""
TRIES = 3
MIN_RATE_HZ, MAX_RATE_HZ = 8_000, 48_000
MAX_CHUNK_BYTES = 256 * 1024

Ask = Callable[[bytes], Awaitable[str]]
"""A WAV file → what is said in it; raises a Problem."""


class LiveAudio(BaseModel):
    """Samples of a stream of speech; the other fields count in its first message."""

    audio: bytes = Field(default=b"", description="16-bit samples, little-endian, one channel.")
    rate_hz: int = Field(default=RATE_HZ, description="Samples a second; where 0, 16000.")
    language: str = Field(default="", description="As of a request.")
    task: str = Field(default="", description="As of a request.")
    model: str = Field(default="", description="As of a request.")


class LiveEvent(BaseModel):
    """What is heard in a stream of speech."""

    type: Literal["partial", "final", "end"] = Field(
        description="partial: so far since the last pause; final: up to a pause; end: all of it."
    )
    text: str = Field(description="Of a partial, the words that stay as they are.")
    tentative: str = Field(default="", description="Of a partial, the words behind, which may not.")
    start_s: float = Field(default=0.0, description="Where in the stream it begins.")
    end_s: float = 0.0


@dataclass(frozen=True)
class Bounds:
    """What one stream may take."""

    duration_s: float
    idle_s: float


def _wav(samples: NDArray[np.float32]) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(RATE_HZ)
        writer.writeframes((samples * 32_767).clip(-32_768, 32_767).astype("<i2").tobytes())
    return file.getvalue()


class Session:
    """One stream, from its first sample to its last."""

    def __init__(
        self, ask: Ask, bounds: Bounds, *, rate_hz: int, ending: Callable[[], bool]
    ) -> None:
        """`ending` says that the service stops, and that the stream has to. Raises InvalidInput."""
        if not MIN_RATE_HZ <= rate_hz <= MAX_RATE_HZ:
            raise InvalidInput(f"is from {MIN_RATE_HZ} to {MAX_RATE_HZ}", "rate_hz")
        self._ask, self._bounds, self._rate_hz, self._ending = ask, bounds, rate_hz, ending
        self._resampler = soxr.ResampleStream(rate_hz, RATE_HZ, 1, dtype="float32")
        self._endpointer, self._agreement = Endpointer(), Agreement()
        self._came: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._waiting_bytes = 0
        self._room = asyncio.Event()
        self._odd = b""
        self._received_s = 0.0
        self._samples: NDArray[np.float32] = np.empty(0, np.float32)
        """Of the current utterance and all that came since."""
        self._start = 0
        """Where they begin, in samples of the stream."""
        self._at = 0
        """How many of them have been listened to."""
        self._tried_s = 0.0
        self._finals: list[str] = []

    async def events(self, chunks: AsyncIterator[bytes]) -> AsyncGenerator[LiveEvent]:
        """What is heard, until the chunks end; raises a Problem. Closing it cancels."""
        reading = asyncio.create_task(self._read(chunks))
        try:
            while await self._more(reading):
                async for event in self._listen():
                    yield event
                if self._worth_a_try():
                    partial = await self._partial()
                    if partial:
                        yield partial
            self._take(b"", last=True)
            async for event in self._listen(last=True):
                yield event
            whole = " ".join(self._finals)
            yield LiveEvent(type="end", text=whole, end_s=round(self._received_s, 3))
        finally:
            reading.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await reading

    async def _read(self, chunks: AsyncIterator[bytes]) -> None:
        try:
            async for chunk in chunks:
                self._waiting_bytes += len(chunk)
                self._came.put_nowait(chunk)
                while self._waiting_bytes > AHEAD_BYTES:
                    self._room.clear()
                    await self._room.wait()
        finally:
            self._came.put_nowait(None)

    async def _more(self, reading: asyncio.Task[None]) -> bool:
        """Take what came, or wait for it; False at the end of the stream."""
        idle_s = 0.0
        while self._came.empty():
            try:
                chunk = await asyncio.wait_for(self._came.get(), LEAVE_S)
            except TimeoutError:
                idle_s += LEAVE_S
                if self._ending():
                    return False
                if idle_s >= self._bounds.idle_s:
                    limit = f"no audio for {self._bounds.idle_s:g} s"
                    raise DeadlineExceeded(limit, "audio") from None
                if self._endpointer.voiced_s:
                    self._endpointer.silent_s = PAUSE_S
                    return True
                continue
            return await self._took(chunk, reading)
        return await self._took(self._came.get_nowait(), reading)

    async def _took(self, chunk: bytes | None, reading: asyncio.Task[None]) -> bool:
        while chunk is not None:
            self._take(chunk)
            if self._came.empty():
                return not self._ending()
            chunk = self._came.get_nowait()
        await reading  # raises what was wrong with the stream
        return False

    def _take(self, chunk: bytes, *, last: bool = False) -> None:
        if len(chunk) > MAX_CHUNK_BYTES:
            raise TooLarge(f"{len(chunk)} bytes; at most {MAX_CHUNK_BYTES} at a time", "audio")
        self._waiting_bytes -= len(chunk)
        self._room.set()
        self._received_s += len(chunk) / 2 / self._rate_hz
        if self._received_s > self._bounds.duration_s:
            raise TooLarge(f"a stream has at most {self._bounds.duration_s:g} s", "audio")
        whole = self._odd + chunk
        even = len(whole) // 2 * 2
        self._odd = whole[even:]
        samples = np.frombuffer(whole[:even], "<i2").astype(np.float32) / 32_768
        resampled = self._resampler.resample_chunk(samples, last=last)
        self._samples = np.concatenate((self._samples, resampled))

    async def _listen(self, *, last: bool = False) -> AsyncGenerator[LiveEvent]:
        """Frame by frame, with what was said at every pause."""
        while True:
            over = self._endpointer.paused or self._at >= LONGEST_S * RATE_HZ
            if over or (last and len(self._samples) - self._at < FRAME):
                if self._endpointer.voiced_s and (final := await self._final()):
                    yield final
                self._forget(self._at)
            if len(self._samples) - self._at < FRAME:
                break
            self._endpointer.hear(self._samples[self._at : self._at + FRAME])
            self._at += FRAME
        if not self._endpointer.voiced_s:
            self._forget(max(0, self._at - int(BEFORE_S * RATE_HZ)))

    def _forget(self, samples: int) -> None:
        self._start += samples
        self._at -= samples
        self._samples = self._samples[samples:]

    @property
    def _utterance(self) -> NDArray[np.float32]:
        return self._samples[: self._at]

    def _worth_a_try(self) -> bool:
        since_s = self._at / RATE_HZ - self._tried_s
        step_s = STEP_S if self._agreement.heard else FIRST_S
        return self._endpointer.voiced_s >= FIRST_S and (not self._tried_s or since_s >= step_s)

    async def _partial(self) -> LiveEvent | None:
        self._tried_s = self._at / RATE_HZ
        try:
            text = await self._ask(_wav(self._utterance))
        except Overloaded:  # the next try has all of it, too
            return None
        stable, tentative = self._agreement.add(text)
        if not (stable or tentative):
            return None
        return self._event("partial", stable, tentative)

    async def _final(self) -> LiveEvent | None:
        for left in reversed(range(TRIES)):
            try:
                text = await self._ask(_wav(self._utterance))
                break
            except Overloaded as error:
                if not left:
                    raise
                await asyncio.sleep(error.retry_after() or 1)
        event = self._event("final", text)
        self._endpointer.begin()
        self._agreement, self._tried_s = Agreement(), 0.0
        if not text:
            return None
        self._finals.append(text)
        return event

    def _event(
        self, type_: Literal["partial", "final"], text: str, tentative: str = ""
    ) -> LiveEvent:
        end = self._start + self._at
        times = (round(sample / RATE_HZ, 3) for sample in (self._start, end))
        return LiveEvent(
            type=type_, text=text, tentative=tentative, start_s=next(times), end_s=next(times)
        )
