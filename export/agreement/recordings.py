"""nothing → recordings of a few lengths, as an import is asked about them."""

from io import BytesIO

import numpy as np
import soundfile
from jaxtyping import Float32
from numpy import ndarray

RATE_HZ = 16_000
DURATIONS_S = (1.0, 0.4, 2.3, 5.1)


def recordings() -> list[Float32[ndarray, " samples"]]:
    """A gliding voice with noise, in pulses; no two of one length."""
    rng = np.random.default_rng(0)
    made = []
    for duration_s in DURATIONS_S:
        time_s = np.arange(round(duration_s * RATE_HZ)) / RATE_HZ
        voice = sum(np.sin(2 * np.pi * k * (120 + 30 * time_s) * time_s) / k for k in range(1, 20))
        pulses = np.sin(2 * np.pi * 3 * time_s) ** 2
        noisy = 0.1 * voice * pulses + 0.01 * rng.standard_normal(len(time_s))
        # As whole numbers of 16 bits, so that a file of them holds the same.
        made.append((np.round(noisy * 32_767) / 32_768).astype(np.float32))
    return made


def file_of(samples: Float32[ndarray, " samples"]) -> bytes:
    content = BytesIO()
    soundfile.write(content, samples, RATE_HZ, format="WAV", subtype="PCM_16")
    return content.getvalue()
