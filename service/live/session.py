"""16-bit samples as they are spoken → partial texts, and a final one at every pause.

What was said since the last pause is transcribed again and again while it grows, each time as an
ordinary request: it shares batches with all others, of other streams too.
"""

import io
import wave
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from service.errors import Overloaded
from service.live.agreement import Agreement
from service.live.endpoint import FRAME, PAUSE_S, Endpointer
from service.live.events import LiveEvent
from service.live.incoming import Incoming
from service.live.patient import patient
from service.log_mel import RATE_HZ

FIRST_S = 0.2
"""So much speech is tried for the first time, and so much more as long as nothing is heard."""
STEP_S = 0.4
"""So much more is tried again."""
BEFORE_S = 0.3
"""Of the silence before speech is kept: words begin softly."""
LONGEST_S = 28.0
"""An utterance without a pause is cut here: the model hears 30 s."""

Ask = Callable[[bytes], Awaitable[str]]
"""A WAV file → what is said in it; raises a Problem."""


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

    def __init__(self, ask: Ask, incoming: Incoming) -> None:
        self._ask, self._incoming = ask, incoming
        self._endpointer, self._agreement = Endpointer(), Agreement()
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
        async with self._incoming.reading(chunks):
            while (came := await self._incoming.take()) is not None:
                if self._incoming.paused and self._endpointer.voiced_s:
                    self._endpointer.silent_s = PAUSE_S
                self._samples = np.concatenate((self._samples, came))
                async for event in self._listen():
                    yield event
                if self._worth_a_try():
                    partial = await self._partial()
                    if partial:
                        yield partial
            self._samples = np.concatenate((self._samples, self._incoming.rest()))
            async for event in self._listen(last=True):
                yield event
            whole = " ".join(self._finals)
            end_s = round(self._incoming.received_s, 3)
            yield LiveEvent(type="end", text=whole, end_s=end_s)

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
        text = await patient(lambda: self._ask(_wav(self._utterance)))
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
