"""a long recording → windows that can be transcribed on their own; their tokens → timed texts.

Windows are cut where the speaker pauses, so that they need not follow one another and all windows
of all requests can share batches. The grammar of timestamps is that of OpenAI's decoder: text
stands between two timestamps, which never decrease; a last timestamp that stands alone says that
the rest is silent, one that is doubled that more text follows.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32
from numpy import ndarray
from numpy.typing import NDArray

from service.log_mel import RATE_HZ, WINDOW_S
from service.search import Logits, Rule

SEARCH_S = 6
"""The last seconds of a window, in which its end is sought."""
PAUSE_S = 0.2
STEP_S = 0.01
TIMESTAMP_S = 0.02
"""What one timestamp token counts."""
MAX_INITIAL_TIMESTAMP = 50
"""The first timestamp is at most 1 s."""
MIN_REST_S = 0.5
"""A shorter rest of a window is taken as silent."""
LOOP_REPEATS = 4
LOOP_TOKENS = 16
"""Text that repeats so often, over so many tokens, is taken as a decoder gone astray."""
MAX_PERIOD = 16

Span = tuple[int, int]
"""First sample and the one behind the last."""


def windows(samples: Float32[ndarray, " samples"]) -> list[Span]:
    """Cut into windows of up to 30 s, each of which ends in the quietest 0.2 s near its limit."""
    spans, start = [], 0
    while len(samples) - start > WINDOW_S * RATE_HZ:
        stop = start + WINDOW_S * RATE_HZ
        stop = stop - SEARCH_S * RATE_HZ + _quietest(samples[stop - SEARCH_S * RATE_HZ : stop])
        spans.append((start, stop))
        start = stop
    return [*spans, (start, len(samples))]


def _quietest(samples: Float32[ndarray, " samples"]) -> int:
    """The middle of the pause with the least energy; of equal ones the last."""
    step = int(STEP_S * RATE_HZ)
    pause = round(PAUSE_S / STEP_S)
    energies = np.square(samples.reshape(-1, step), dtype=np.float64).sum(axis=1)
    # Integers compare equal where sums of floats would not.
    summed = np.convolve(energies, np.ones(pause), "valid").round(9)
    last = len(summed) - 1 - int(summed[::-1].argmin())
    return (last + pause // 2) * step


def loop(tokens: Sequence[int], *, first: int) -> int | None:
    """A token of the phrase that the text repeats at its end, if it loops.

    Timestamps (tokens from `first` on) between the repetitions do not count.
    """
    text = [token for token in tokens if token < first]
    for period in range(1, min(MAX_PERIOD + 1, len(text))):
        length = max(LOOP_REPEATS * period, LOOP_TOKENS)
        if len(text) < length or text[-1] != text[-1 - period]:
            continue  # as almost always: one comparison is enough
        if text[-length:-period] == text[period - length :]:
            return text[-length]
    return None


def timestamp_rule(*, first: int, end: int, suppressed: NDArray[np.int64]) -> Rule:
    """What may come next: OpenAI's decoding rules, for tokens from `first` on being timestamps.

    Text begins with a timestamp of at most 1 s and ends with one; the next text begins with one
    that is not earlier; timestamps are taken when together they are likelier than any other token.
    `suppressed` tokens never come; `end` is the token that ends the text, and a text that loops.
    """

    def rule(logits: Logits, generated: Sequence[Sequence[int]]) -> None:
        logits[:, suppressed] = -np.inf
        for row, tokens in zip(logits, generated, strict=True):
            if not tokens:
                row[:first] = -np.inf
                row[first + MAX_INITIAL_TIMESTAMP + 1 :] = -np.inf
                continue
            latest = max(tokens)
            if tokens[-1] < first:
                # Text is open: the timestamp that ends it is later than the one before it.
                row[first : latest + 1] = -np.inf
                if loop(tokens, first=first) is not None:
                    row[np.arange(len(row)) != end] = -np.inf
            elif len(tokens) == 1 or tokens[-2] >= first:
                # A text has just begun.
                row[first:] = -np.inf
            else:
                # A text has just ended: another begins, or it was the last one.
                row[:end] = -np.inf
                row[first:latest] = -np.inf
        times, others = logits[:, first:], logits[:, :first].max(axis=1)
        top = times.max(axis=1)
        shifted = times - np.where(np.isfinite(top), top, 0)[:, None]
        with np.errstate(divide="ignore"):
            together = np.log(np.exp(shifted).sum(axis=1)) + top
        logits[together > others, :first] = -np.inf

    return rule


def text_rule(
    *, first: int, end: int, suppressed: NDArray[np.int64], suppressed_first: NDArray[np.int64]
) -> Rule:
    """What may come next in a text without timestamps, which are the tokens from `first` on.

    `suppressed` tokens never come, `suppressed_first` do not begin; a text that loops ends.
    """

    def rule(logits: Logits, generated: Sequence[Sequence[int]]) -> None:
        logits[:, suppressed] = -np.inf
        logits[:, first:] = -np.inf
        for row, tokens in zip(logits, generated, strict=True):
            if not tokens:
                row[suppressed_first] = -np.inf
            elif loop(tokens, first=first) is not None:
                row[np.arange(len(row)) != end] = -np.inf

    return rule


def timed_texts(
    tokens: Sequence[int], *, first: int, duration_s: float
) -> list[tuple[float, float, list[int]]]:
    """Tokens of one window → (start, end, text tokens) of each text, in seconds of the window.

    A text without an end ends with the window.
    """
    texts: list[tuple[float, float, list[int]]] = []
    start_s, text = 0.0, list[int]()
    for token in tokens:
        if token < first:
            text.append(token)
            continue
        time_s = min((token - first) * TIMESTAMP_S, duration_s)
        if text:
            texts.append((start_s, time_s, text))
            text = []
        start_s = time_s
    return [*texts, (start_s, duration_s, text)] if text else texts


def unheard(tokens: Sequence[int], *, first: int, duration_s: float) -> int:
    """How many timestamps into the window the rest begins that has yet to be transcribed.

    0 if there is none: the window was heard to its end, or nothing of it was.
    """
    times = [token - first for token in tokens if token >= first]
    doubled = len(tokens) > 1 and tokens[-1] >= first and tokens[-2] >= first
    rest_s = duration_s - TIMESTAMP_S * times[-1] if doubled else 0.0
    return times[-1] if rest_s >= MIN_REST_S else 0
