"""a recording shorter than its window → the groups that its encoded positions fall into.

Silence behind it is encoded four positions as one (`models/folding.py`): a window takes time by how
much is heard in it. The numbers are those with which Whisper base makes the same words of
LibriSpeech's recordings as before.
"""

import math

import numpy as np
from jaxtyping import Int64
from numpy import ndarray

from service.log_mel import FRAMES
from service.transcript import TIMESTAMP_S

POSITIONS = FRAMES // 2
"""Of a window; each is as long as the step between two timestamps."""
MARGIN = 25
"""Positions of silence, half a second, that are still each encoded by itself."""
STEP = 100
"""Few lengths are easier on a runtime than many: of the positions encoded each by itself, there are
a multiple of this."""
GROUP = 4


def begins(duration_s: float) -> Int64[ndarray, " groups"] | None:
    """Where the groups begin in a window that so much is heard of; None if there is no silence to
    speak of."""
    heard = math.ceil(duration_s / TIMESTAMP_S) + MARGIN
    alone = math.ceil(heard / STEP) * STEP
    if alone >= POSITIONS:
        return None
    return np.concatenate([np.arange(alone), np.arange(alone, POSITIONS, GROUP)])
