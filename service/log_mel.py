"""16 kHz samples of up to 30 s → log-mel features as Whisper was trained on.

Source: Radford et al. 2022, 2.2, and OpenAI's released preprocessing: 25 ms Hann windows every 10
ms, 80 mel bands (128 from large-v3 on), log10, the lowest 8 decades below the loudest band cut off,
scaled to about [-1, 1].
"""

from functools import cache

import numpy as np
from jaxtyping import Float32
from numpy import ndarray

from service.audio import mel_filters, power_spectrogram

RATE_HZ = 16_000
N_FFT = 400
HOP = 160
MELS = 80
WINDOW_S = 30
FRAMES = WINDOW_S * RATE_HZ // HOP
FLOOR = -10.0
"""log10 of what is taken as silence."""
RANGE = 8.0

_HANN = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(N_FFT) / N_FFT)).astype(np.float32)


@cache
def _filters(mels: int) -> Float32[ndarray, "bins mels"]:
    return mel_filters(rate_hz=RATE_HZ, n_fft=N_FFT, mels=mels, min_hz=0, max_hz=RATE_HZ / 2)


def log_mel(
    samples: Float32[ndarray, " samples"], *, mels: int = MELS
) -> Float32[ndarray, "mels frames"]:
    """Features of one window; what is missing to 30 s counts as silence.

    Raises ValueError for samples of more than 30 s.
    """
    missing = WINDOW_S * RATE_HZ - len(samples)
    if missing < 0:
        raise ValueError(f"{len(samples)} samples; at most {WINDOW_S * RATE_HZ}")
    # Frames that lie behind the samples hold silence: their spectra need not be computed.
    heard = np.pad(samples, (0, min(missing, N_FFT)))
    centred = np.pad(heard, N_FFT // 2, mode="reflect")
    power = power_spectrogram(centred, n_fft=N_FFT, hop=HOP, window=_HANN)[:FRAMES]
    features = np.full((mels, FRAMES), FLOOR, np.float32)
    features[:, : len(power)] = np.log10(np.maximum(power @ _filters(mels), 10**FLOOR)).T
    scaled: Float32[ndarray, "mels frames"] = (np.maximum(features, features.max() - RANGE) + 4) / 4
    return scaled


def later(
    features: Float32[ndarray, "mels frames"], frames: int
) -> Float32[ndarray, "mels frames"]:
    """The window that begins `frames` later, with silence behind what is known of it."""
    silence = max((FLOOR + 4) / 4, float(features.max()) - RANGE / 4)
    shifted = np.full_like(features, silence)
    shifted[:, : FRAMES - frames] = features[:, frames:]
    return shifted
