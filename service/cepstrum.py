"""one second at 16 kHz → mel-frequency cepstral coefficients as KWT-1 was trained on.

Source: the matrices that ARM released with it (ARM-software/keyword-transformer, Apache-2.0), of
TensorFlow's MFCC over 30 ms every 10 ms; the Fourier transform has only the bins with a weight.
"""

from pathlib import Path

import numpy as np
from jaxtyping import Float32
from numpy import ndarray
from numpy.typing import NDArray
from safetensors.numpy import load_file

NAME = "cepstrum.safetensors"
MATRICES = ("window", "dft_a", "dft_b", "mel", "dct", "log_floor")
HOP_SAMPLES = 160


class Cepstrum:
    """The matrices of a file, applied one after another."""

    def __init__(self, path: Path) -> None:
        """Raises ValueError for a file that lacks one of them."""
        self.of: dict[str, NDArray[np.float32]] = load_file(path)
        missing = [name for name in MATRICES if name not in self.of]
        if missing:
            raise ValueError(f"{path.name} lacks {', '.join(missing)}")

    def __call__(
        self, samples: Float32[ndarray, " samples"]
    ) -> Float32[ndarray, "frames coefficients"]:
        window = self.of["window"]
        frames = np.lib.stride_tricks.sliding_window_view(samples, len(window))[::HOP_SAMPLES]
        heard = frames * window
        magnitude = np.hypot(heard @ self.of["dft_a"].T, heard @ self.of["dft_b"].T)
        mels = np.maximum(magnitude @ self.of["mel"].T, self.of["log_floor"])
        coefficients: Float32[ndarray, "frames coefficients"] = np.log(mels) @ self.of["dct"].T
        return coefficients
