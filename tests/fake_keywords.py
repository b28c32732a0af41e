"""three tones in noise as keywords: a truncated keyword transformer that knows them, and sound."""

from dataclasses import replace
from functools import cache

import numpy as np
import torch

from models.architectures import keyword_transformer
from models.architectures.keyword_transformer import KeywordTransformer
from models.datasets import Batch
from service.tasks.audio_classification import RATE_HZ, features

LABELS = ("_silence_", "low", "middle", "high")
TONES_HZ = (0, 300, 900, 2_700)
TONE_S = 0.4
WINDOW = (2, 1)
CONFIG = replace(keyword_transformer.PRESETS["testing"], window=WINDOW)


def tone(label: str, seconds: float = TONE_S) -> np.ndarray:
    hz = TONES_HZ[LABELS.index(label)]
    return 0.1 * np.sin(2 * np.pi * hz * np.arange(int(seconds * RATE_HZ)) / RATE_HZ)


def sound(seconds: float, spoken: dict[float, str] | None = None, seed: int = 0) -> np.ndarray:
    """Noise of such a length with tones that begin at these seconds."""
    samples = np.random.default_rng(seed).normal(0, 0.01, int(seconds * RATE_HZ))
    for start_s, label in (spoken or {}).items():
        start, said = int(start_s * RATE_HZ), tone(label)
        samples[start : start + len(said)] += said
    return samples.astype(np.float32)


def pcm(samples: np.ndarray) -> bytes:
    return (samples.clip(-1, 1) * 32_767).astype("<i2").tobytes()


def batch(size: int, seed: int) -> Batch:
    rng = np.random.default_rng(seed)
    labels = rng.integers(len(LABELS), size=size)
    clips = [
        sound(1, {rng.uniform(0, 1 - TONE_S): LABELS[label]} if label else {}, seed=seed + row)
        for row, label in enumerate(labels)
    ]
    return {
        "features": torch.from_numpy(features(np.stack(clips))),
        "labels": torch.from_numpy(np.eye(len(LABELS), dtype=np.float32)[labels]),
    }


@cache
def trained() -> KeywordTransformer:
    """A model that tells them apart."""
    torch.manual_seed(0)
    model = keyword_transformer.build(CONFIG)
    stepper = torch.optim.AdamW(model.parameters(), lr=3e-3)
    clips = batch(320, seed=0)
    for step in range(40):
        rows = slice(step % 10 * 32, (step % 10 + 1) * 32)
        taken = {name: values[rows] for name, values in clips.items()}
        keyword_transformer.loss(model, taken).backward()
        stepper.step()
        stepper.zero_grad()
    return model.eval()
