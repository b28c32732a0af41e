"""samples as they come → the probability of speech in each 32 ms: Silero's voice activity detector.

The model is silero_vad_16k_sequence.onnx of the package silero-vad 6.2.3 (MIT, silero_vad.LICENSE),
which is here because that package needs torch. https://github.com/snakers4/silero-vad
"""

import hashlib
from functools import cache
from pathlib import Path

import numpy as np
import onnxruntime as ort
from jaxtyping import Float32
from numpy import ndarray

FRAME = 512
"""Samples at 16 kHz that one probability is about."""
CONTEXT = 64
"""Samples before a frame that are heard with it."""
STATE = (1, 1, 128)
MODEL = Path(__file__).parent / "silero_vad.onnx"
SHA256 = "9ccdacc4719d8aa7e45a77536bfabec45a03ba1f2fad5e241ab4060b24238a85"


@cache
def _session() -> ort.InferenceSession:
    data = MODEL.read_bytes()
    if hashlib.sha256(data).hexdigest() != SHA256:
        raise ValueError(f"{MODEL} is not the file that it should be")
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1  # beside the models that transcribe
    options.log_severity_level = 3
    return ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])


class Listener:
    """What was heard of one recording so far."""

    def __init__(self) -> None:
        self._h = self._c = np.zeros(STATE, np.float32)
        self._before = np.zeros(CONTEXT, np.float32)

    def hear(self, samples: Float32[ndarray, " samples"]) -> Float32[ndarray, " frames"]:
        """The samples that follow, whole frames of them → how likely each is speech."""
        if not len(samples):
            return np.zeros(0, np.float32)
        known = np.concatenate([self._before, samples])
        frames = np.lib.stride_tricks.sliding_window_view(known, CONTEXT + FRAME)[::FRAME]
        self._before = known[-CONTEXT:]
        given = {"input": np.ascontiguousarray(frames), "h": self._h, "c": self._c}
        heard, self._h, self._c = _session().run(None, given)
        return np.asarray(heard, np.float32)
