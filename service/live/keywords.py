"""16-bit samples as they are spoken → keywords, each as soon as it is heard, with its time.

A model with truncated attention is given pieces of the stream that overlap by what it hears around
a moment, and tells of each moment once: how much of the stream is kept, and how late a moment is
told of, are bounded by its window. The pieces share batches with all other requests.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from jaxtyping import Float32
from numpy import ndarray

from service.errors import InvalidInput
from service.live.events import KeywordEvent
from service.live.incoming import Incoming, Samples
from service.live.patient import patient
from service.live.spotter import Spotted, Spotter
from service.loaded import Loaded
from service.tasks import Item, Row
from service.tasks.audio_classification import HOP_SAMPLES, RATE_HZ, Features, features

GRAPH = "stream"
FRAME_SAMPLES = 400
"""What a frame of features is made of."""
TOGETHER = 16
"""Pieces that are asked for at once, where a client sends faster than it speaks."""

Ask = Callable[[Sequence[Item]], Awaitable[Sequence[Row]]]
"""Pieces of features → what the model makes of each; raises a Problem."""


@dataclass(frozen=True)
class Hearing:
    """What a model hears of a stream: frames of a piece, and labels in the order of its classes."""

    frames: int
    labels: Sequence[str]

    @classmethod
    def of(cls, loaded: Loaded) -> "Hearing":
        """Raises InvalidInput for a model that hears whole recordings only."""
        try:
            axes = loaded.model.tensors(GRAPH)["frames"].axes
        except KeyError:
            raise InvalidInput(
                f"{loaded.name} hears whole recordings only: live streams need a model with "
                "truncated attention",
                "model",
            ) from None
        frames = axes[1]
        assert isinstance(frames, int), f"{loaded.name}: pieces of {frames} frames"
        return cls(frames, loaded.assets.labels)


class KeywordSession:
    """One stream, from its first sample to its last."""

    def __init__(self, ask: Ask, hearing: Hearing, incoming: Incoming) -> None:
        self._ask, self._hearing, self._incoming = ask, hearing, incoming
        self._spotter = Spotter(hearing.labels)
        self._samples: Float32[ndarray, " samples"] = np.empty(0, np.float32)
        """Too few for another frame."""
        self._frames = _silence(hearing.frames)
        """What the next piece begins with: silence, before the stream does."""
        self._start = 0
        """Where they begin, in frames of the stream."""

    async def events(self, chunks: AsyncIterator[bytes]) -> AsyncGenerator[KeywordEvent]:
        """What is heard, until the chunks end; raises a Problem. Closing it cancels."""
        step = await self._step()
        self._frames, self._start = self._frames[step:], step - self._hearing.frames
        async with self._incoming.reading(chunks):
            while (came := await self._incoming.take()) is not None:
                self._take(came)
                async for event in self._heard(step):
                    yield event
            self._take(self._incoming.rest())
            # Silence behind the end, until the last of what was spoken has been told of.
            self._frames = np.concatenate((self._frames, _silence(self._hearing.frames)))
            async for event in self._heard(step):
                yield event
            yield KeywordEvent(type="end", end_s=round(self._incoming.received_s, 3))

    async def _step(self) -> int:
        """Frames from one piece to the next, as the model tells of silence."""
        (row,) = await patient(lambda: self._ask([{"frames": self._frames}]))
        middles = row["middles"]
        return len(middles) * int(middles[1] - middles[0])

    def _take(self, came: Samples) -> None:
        self._samples = np.concatenate((self._samples, came))
        whole = max(0, (len(self._samples) - FRAME_SAMPLES) // HOP_SAMPLES + 1)
        if whole:
            made = features(self._samples[: (whole - 1) * HOP_SAMPLES + FRAME_SAMPLES])
            self._frames = np.concatenate((self._frames, made))
            self._samples = self._samples[whole * HOP_SAMPLES :]

    async def _heard(self, step: int) -> AsyncGenerator[KeywordEvent]:
        """What all pieces that are whole tell."""
        size = self._hearing.frames
        while starts := range(0, len(self._frames) - size + 1, step)[:TOGETHER]:
            items = [{"frames": self._frames[start : start + size]} for start in starts]
            for row in await patient(partial(self._ask, items)):
                for logits, middle in zip(row["logits"], row["middles"], strict=True):
                    at_s = self._time_s(int(middle))
                    within = 0 <= at_s <= self._incoming.received_s
                    spotted = self._spotter.hear(logits, at_s) if within else None
                    if spotted:
                        yield _event(spotted)
                self._start += step
            self._frames = self._frames[len(starts) * step :]

    def _time_s(self, frame: int) -> float:
        """The middle of a frame of the piece that begins at `_start`."""
        return ((self._start + frame) * HOP_SAMPLES + FRAME_SAMPLES / 2) / RATE_HZ


def _silence(frames: int) -> Features:
    return features(np.zeros((frames - 1) * HOP_SAMPLES + FRAME_SAMPLES, np.float32))


def _event(spotted: Spotted) -> KeywordEvent:
    times = (round(time_s, 3) for time_s in (spotted.start_s, spotted.end_s))
    return KeywordEvent(
        type="keyword",
        label=spotted.label,
        score=spotted.score,
        start_s=next(times),
        end_s=next(times),
    )
