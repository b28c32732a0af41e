"""messages of 16-bit samples → what came so far at 16 kHz, read ahead of whoever takes it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import numpy as np
import soxr
from jaxtyping import Float32
from numpy import ndarray

from service.errors import DeadlineExceeded, InvalidInput, TooLarge
from service.log_mel import RATE_HZ

LEAVE_S = 1.0
"""A client that sends nothing for so long has paused."""
AHEAD_BYTES = 2 * 2**20
"""So much may wait, a minute of speech; then the client has to."""
MIN_RATE_HZ, MAX_RATE_HZ = 8_000, 48_000
MAX_CHUNK_BYTES = 256 * 1024

Samples = Float32[ndarray, " samples"]


@dataclass(frozen=True)
class Bounds:
    """What one stream may take."""

    duration_s: float
    idle_s: float


class Incoming:
    """The sound of one stream, from its first sample to its last."""

    received_s = 0.0
    paused = False
    """Nothing has come for a while."""

    def __init__(self, bounds: Bounds, *, rate_hz: int, ending: Callable[[], bool]) -> None:
        """`ending` says that the service stops, and that the stream has to. Raises InvalidInput."""
        if not MIN_RATE_HZ <= rate_hz <= MAX_RATE_HZ:
            raise InvalidInput(f"is from {MIN_RATE_HZ} to {MAX_RATE_HZ}", "rate_hz")
        self._bounds, self._rate_hz, self._ending = bounds, rate_hz, ending
        self._resampler = soxr.ResampleStream(rate_hz, RATE_HZ, 1, dtype="float32")
        self._came: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._waiting_bytes = 0
        self._room = asyncio.Event()
        self._idle_s = 0.0
        self._over = False
        self._odd = b""
        self._reading: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def reading(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[None]:
        """Around what takes the sound: the chunks are read meanwhile."""
        self._reading = asyncio.create_task(self._read(chunks))
        try:
            yield
        finally:
            self._reading.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await self._reading

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

    async def take(self) -> Samples | None:
        """What came, or what comes next: nothing in a pause; None at the end of the stream.

        Raises what is wrong with the stream, which may be that nothing came for too long.
        """
        if self._over:
            return None
        try:
            chunk = await asyncio.wait_for(self._came.get(), LEAVE_S)
        except TimeoutError:
            self.paused = True
            self._idle_s += LEAVE_S
            self._over = self._ending()
            if not self._over and self._idle_s >= self._bounds.idle_s:
                limit = f"no audio for {self._bounds.idle_s:g} s"
                raise DeadlineExceeded(limit, "audio") from None
            return np.empty(0, np.float32)
        self.paused, self._idle_s = False, 0.0
        return await self._all_from(chunk)

    async def _all_from(self, chunk: bytes | None) -> Samples | None:
        assert self._reading is not None
        parts = []
        while chunk is not None:
            parts.append(self._resampled(chunk))
            if self._came.empty():
                self._over = self._ending()
                return np.concatenate(parts)
            chunk = self._came.get_nowait()
        self._over = True
        await self._reading  # raises what was wrong with the stream
        return np.concatenate(parts) if parts else None

    def rest(self) -> Samples:
        """What the resampler still holds at the end."""
        return self._resampled(b"", last=True)

    def _resampled(self, chunk: bytes, *, last: bool = False) -> Samples:
        if len(chunk) > MAX_CHUNK_BYTES:
            raise TooLarge(f"{len(chunk)} bytes; at most {MAX_CHUNK_BYTES} at a time", "audio")
        self._waiting_bytes -= len(chunk)
        self._room.set()
        self.received_s += len(chunk) / 2 / self._rate_hz
        if self.received_s > self._bounds.duration_s:
            raise TooLarge(f"a stream has at most {self._bounds.duration_s:g} s", "audio")
        whole = self._odd + chunk
        even = len(whole) // 2 * 2
        self._odd = whole[even:]
        samples = np.frombuffer(whole[:even], "<i2").astype(np.float32) / 32_768
        resampled: Samples = self._resampler.resample_chunk(samples, last=last)
        return resampled
