"""samples at 16 kHz → log-mel filter banks as Kaldi computes them, scaled as AST was trained.

Source: Gong et al. 2021, "AST: Audio Spectrogram Transformer", and `compute-fbank-feats` of Kaldi
with a Hann window and without dither: 25 ms every 10 ms without their mean, pre-emphasis, and
triangles that are straight on Kaldi's mel scale.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32
from numpy import ndarray

RATE_HZ = 16_000
WINDOW_SAMPLES, HOP_SAMPLES, N_FFT = 400, 160, 512
MIN_HZ = 20.0
PREEMPHASIS = 0.97
FLOOR = 1.192092955078125e-07
"""The smallest step of float32 at 1, below which Kaldi takes no logarithm."""
_HANN = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW_SAMPLES) / (WINDOW_SAMPLES - 1))


def _mel(hz: Any) -> Any:
    return 1127.0 * np.log(1.0 + np.asarray(hz) / 700.0)


def filters(mels: int) -> ndarray:
    """Triangles (bins, mels) between `MIN_HZ` and half the rate."""
    edges = np.linspace(_mel(MIN_HZ), _mel(RATE_HZ / 2), mels + 2)
    bins = _mel(np.arange(N_FFT // 2 + 1) * (RATE_HZ / N_FFT))[:, None]
    left, centre, right = edges[:-2], edges[1:-1], edges[2:]
    rising, falling = (bins - left) / (centre - left), (right - bins) / (right - centre)
    triangles: ndarray = np.maximum(0, np.minimum(rising, falling))
    return triangles


class Fbank:
    """As many frames of as many bands as a model takes; what is missing at the end is 0."""

    def __init__(self, said: Mapping[str, Any]) -> None:
        """Raises ValueError for what `preprocessor_config.json` asks and is not done here."""
        kind = said.get("feature_extractor_type")
        if kind != "ASTFeatureExtractor" or said.get("sampling_rate", RATE_HZ) != RATE_HZ:
            raise ValueError(f"no features of {kind} at {said.get('sampling_rate')} Hz")
        self.frames: int = said["max_length"]
        self.filters = filters(said["num_mel_bins"])
        scaled = said.get("do_normalize", True)
        self.mean: float = said["mean"] if scaled else 0.0
        self.scale: float = 2 * said["std"] if scaled else 1.0

    @classmethod
    def read(cls, path: Path) -> "Fbank":
        return cls(json.loads(path.read_text(encoding="utf-8")))

    @property
    def samples(self) -> int:
        """Of a recording that fills all frames."""
        return WINDOW_SAMPLES + (self.frames - 1) * HOP_SAMPLES

    def __call__(self, samples: Float32[ndarray, " samples"]) -> Float32[ndarray, "frames mels"]:
        """Features of at most `self.samples`."""
        features = np.zeros((self.frames, self.filters.shape[1]), np.float32)
        if len(samples) >= WINDOW_SAMPLES:
            heard = self._log_mel(samples)[: self.frames]
            features[: len(heard)] = heard
        return (features - np.float32(self.mean)) / np.float32(self.scale)

    def _log_mel(self, samples: Float32[ndarray, " samples"]) -> ndarray:
        view = np.lib.stride_tricks.sliding_window_view(samples, WINDOW_SAMPLES)[::HOP_SAMPLES]
        frames = view.astype(np.float64)
        frames -= frames.mean(axis=1, keepdims=True)
        # The sample before a frame's first counts as equal to it.
        frames[:, 1:] -= PREEMPHASIS * frames[:, :-1].copy()
        frames[:, 0] *= 1 - PREEMPHASIS
        power = np.abs(np.fft.rfft(frames * _HANN, N_FFT)) ** 2
        mels: ndarray = np.log(np.maximum(power @ self.filters, FLOOR)).astype(np.float32)
        return mels
