"""a recording block by block → its speech in pieces of up to 30 s, each cut where nobody speaks.

Silence is left out, so that a piece is all speech but for short pauses. No more of the recording is
held than a block and a piece.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32
from numpy import ndarray

from service.log_mel import RATE_HZ, WINDOW_S
from service.speech.vad import FRAME, Listener

FRAMES = WINDOW_S * RATE_HZ // FRAME
"""The longest piece."""
SEARCH_FRAMES = 20 * RATE_HZ // FRAME
"""The last frames of a piece, in which its end is sought: the longest silence of many is likelier
one between speakers or sentences."""
LONG_FRAMES = RATE_HZ // FRAME
"""A silence that ends a piece however short that is: who speaks behind it may be somebody else,
and Whisper hears one speaker better than two."""
LEAST_FRAMES = 3
"""Fewer frames of speech are none."""
LOWER = 0.15
"""So far below the threshold speech that has begun still goes on, as in Silero's own code."""
SMOOTHED = 7

Samples = Float32[ndarray, " samples"]


@dataclass(frozen=True)
class Cutting:
    """What counts as speech, and where it may be cut; OpenAI's defaults."""

    threshold: float = 0.5
    padding_ms: int = 300
    """Kept before and behind speech."""
    silence_ms: int = 200
    """A pause so long may be cut in."""


def _runs(silent: Bool[ndarray, " frames"]) -> list[tuple[int, int]]:
    """Begin and end of each run of silent frames."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], silent, [False]]).astype(np.int8)))
    return [(int(begin), int(end)) for begin, end in edges.reshape(-1, 2)]


def _end(heard: Float32[ndarray, " frames"], cutting: Cutting) -> int | None:
    """How many frames the next piece has; None where more has to be heard to know."""
    window = heard[:FRAMES]
    runs = _runs(window < cutting.threshold - LOWER)
    for begin, end in runs:
        if end - begin >= LONG_FRAMES:
            return end
    if len(window) < FRAMES:
        return None
    least = max(1, cutting.silence_ms * RATE_HZ // 1000 // FRAME)
    late = [run for run in runs if run[1] > FRAMES - SEARCH_FRAMES and run[1] - run[0] >= least]
    if late:
        begin, end = max(late, key=lambda run: run[1] - run[0])
        return (begin + end + 1) // 2
    smooth = np.convolve(window[-SEARCH_FRAMES:], np.ones(SMOOTHED), "valid")
    return FRAMES - SEARCH_FRAMES + int(smooth.argmin()) + SMOOTHED // 2 + 1


def _spoken(heard: Float32[ndarray, " frames"], cutting: Cutting) -> tuple[int, int] | None:
    """First sample of a piece's speech and the one behind it, with what is kept around it."""
    if (heard >= cutting.threshold).sum() < LEAST_FRAMES:
        return None
    frames = np.flatnonzero(heard >= cutting.threshold - LOWER)
    padding = cutting.padding_ms * RATE_HZ // 1000
    return max(0, int(frames[0]) * FRAME - padding), (int(frames[-1]) + 1) * FRAME + padding


def pieces(blocks: Iterable[Samples], cutting: Cutting) -> Iterator[tuple[int, Samples]]:
    """The first sample of each piece in the recording, and its samples."""
    listener, start = Listener(), 0
    rest, heard = np.zeros(0, np.float32), np.zeros(0, np.float32)

    def piece(frames: int) -> Iterator[tuple[int, Samples]]:
        found = _spoken(heard[:frames], cutting)
        if found:
            begin, end = found[0], min(found[1], frames * FRAME)
            yield start + begin, rest[begin:end].copy()

    for block in blocks:
        rest = np.concatenate([rest, block])
        new = rest[len(heard) * FRAME : len(rest) // FRAME * FRAME]
        heard = np.concatenate([heard, listener.hear(new)])
        while (frames := _end(heard, cutting)) is not None:
            yield from piece(frames)
            start += frames * FRAME
            rest, heard = rest[frames * FRAME :], heard[frames:]
    missing = -len(rest) % FRAME
    rest = np.pad(rest, (0, missing))
    heard = np.concatenate([heard, listener.hear(rest[len(heard) * FRAME :])])
    yield from piece(len(heard))
