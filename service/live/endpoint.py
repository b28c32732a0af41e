"""frames of sound → when speech begins and when it pauses, by their loudness above the room's."""

import numpy as np
from jaxtyping import Float32
from numpy import ndarray

from service.log_mel import RATE_HZ

FRAME_S = 0.02
FRAME = int(FRAME_S * RATE_HZ)
PAUSE_S = 0.6
"""So much silence ends what was said."""
ABOVE_DB = 12.0
"""Speech is so much louder than the quietest of late."""
QUIETEST_DB, LOUDEST_FLOOR_DB = -60.0, -35.0
RISE_DB = 0.04
"""Of the floor with every frame that is above it: 2 dB a second."""


class Endpointer:
    """Follows one stream frame by frame."""

    def __init__(self) -> None:
        self._floor_db = QUIETEST_DB
        self.voiced_s = 0.0
        """Speech in the current utterance; 0 before it begins."""
        self.silent_s = 0.0
        """Since the last speech."""

    def hear(self, frame: Float32[ndarray, " frame"]) -> None:
        """20 ms more."""
        power = float(np.square(frame, dtype=np.float64).mean())
        level_db = 10 * np.log10(power + 1e-12)
        if level_db > self._floor_db + ABOVE_DB:
            self.voiced_s += FRAME_S
            self.silent_s = 0.0
        else:
            self.silent_s += FRAME_S
        floor_db = min(level_db, self._floor_db + RISE_DB)
        self._floor_db = min(max(floor_db, QUIETEST_DB), LOUDEST_FLOOR_DB)

    @property
    def paused(self) -> bool:
        return self.voiced_s > 0 and self.silent_s >= PAUSE_S

    def begin(self) -> None:
        """Wait for the next utterance."""
        self.voiced_s = 0.0
