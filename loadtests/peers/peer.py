"""engine, weights, inputs → outputs: the interface of all that is raced.

Workers import this in environments that hold numpy and one engine, so nothing else is imported.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Inputs = Mapping[str, NDArray[Any]]
"""The rows of one batch; which arrays there are depends on the kind of work."""
Run = Callable[[Inputs], NDArray[Any]]
"""Tokens (batch, length), texts (batch) or logits (batch, classes)."""

TRANSLATION, SPEECH, IMAGE = "translation", "speech", "image"
"""Kinds of work: `source`, `source_lengths` → tokens; `samples` → texts; `pixels` → logits."""
INPUTS, REFERENCE, JOB = "inputs.npz", "reference.npy", "job.json"
HUGGING_FACE, ATTENDANT, PACKAGE = "hugging-face", "attendant", "package"
DEFAULT_ONNX, GGML = "default.onnx", "ggml-{}.bin"
"""What preparation leaves in the folder of a work."""


class NotHere(Exception):
    """A peer cannot be raced in this place; the message says what is missing."""


@dataclass(frozen=True)
class Peer:
    """One way to run an engine: a bar of the chart."""

    name: str
    variant: str
    """What the engine's `load` is told, as float32 or int8."""
    kinds: tuple[str, ...]
    environment: str = "peers"
    """Which environment it runs in: `requirements/ENVIRONMENT.txt`."""
    engine: str = ""
    """Module of `engines/`; filled in by the catalogue."""


@dataclass(frozen=True)
class Job:
    """What a worker loads."""

    kind: str
    folder: Path
    variant: str
    threads: int
    facts: Mapping[str, Any]
    """What preparation wrote of the work: sizes, special tokens, number of tokens wanted."""


@dataclass(frozen=True)
class Loaded:
    """An engine that is ready to run."""

    run: Run
    settings: Mapping[str, str] = field(default_factory=dict)
    """What was set, for the record."""
    batches: int = 1
    """Batches that one call of `run` answers, where the engine is fastest with many in flight."""


def unpadded(inputs: Inputs) -> list[list[int]]:
    """The source tokens of each row."""
    pairs = zip(inputs["source"], inputs["source_lengths"], strict=True)
    return [row[:length].tolist() for row, length in pairs]


def attention_mask(inputs: Inputs) -> NDArray[np.int64]:
    """1 where a source token is, 0 where padding."""
    columns = np.arange(inputs["source"].shape[1])
    mask: NDArray[np.int64] = (columns < inputs["source_lengths"][:, None]).astype(np.int64)
    return mask
