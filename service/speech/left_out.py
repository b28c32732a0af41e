"""text of a window that is known to be speech → where it leaves speech out, to go on from there.

Whisper may end its text, or stretch a short one to the end of the window, where another speaker
begins. A window that voice activity detection has cut holds speech to its end: text is missing
there, and where the time of a text is far too long for its tokens.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32
from numpy import ndarray

from service.log_mel import HOP, RATE_HZ
from service.transcript import TIMESTAMP_S

MIN_REST_S = 2.0
"""A shorter end without text may be a pause and the silence kept behind it."""
SPARSE_S = 2.4
SLOW_TOKENS_PER_S = 2.0
"""A text that lasts so much longer than slow speakers need for its tokens."""
GAP_S = 2.0
"""Between two texts."""
TOKENS_PER_S = 3.0
QUIET_S = 0.2
SEARCH_S = 2.5
"""So far behind where a sparse text should end a pause is sought, in which it ends."""


def _pause(features: Float32[ndarray, "mels frames"], after_s: float) -> int:
    """The timestamp in the middle of the quietest moment behind a time."""
    per_s = RATE_HZ // HOP
    begin, width = round(after_s * per_s), round(QUIET_S * per_s)
    levels = features[:, begin : begin + round(SEARCH_S * per_s)].mean(axis=0)
    if len(levels) < width:
        return round(after_s / TIMESTAMP_S)
    quietest = int(np.convolve(levels, np.ones(width), "valid").argmin())
    return round((begin + quietest + width // 2) / per_s / TIMESTAMP_S)


def resumed(
    tokens: Sequence[int],
    *,
    first: int,
    duration_s: float,
    features: Float32[ndarray, "mels frames"],
) -> tuple[list[int], int]:
    """The tokens that stand, and the timestamp behind which speech was left out; 0 if none was.

    Timestamps are the tokens from `first` on.
    """
    begin, count, last = 0, 0, None
    for index, token in enumerate(tokens):
        if token < first:
            count += 1
            continue
        last = token - first
        lasts_s = (last - begin) * TIMESTAMP_S
        if begin and not count and lasts_s >= GAP_S:
            return list(tokens[:index]), begin
        if count and lasts_s - count / SLOW_TOKENS_PER_S >= SPARSE_S:
            pause = _pause(features, begin * TIMESTAMP_S + count / TOKENS_PER_S)
            return [*tokens[:index], first + pause], pause
        begin, count = last, 0
    left_s = 0.0 if last is None or count else duration_s - last * TIMESTAMP_S
    return list(tokens), (last or 0) if left_s >= MIN_REST_S else 0
