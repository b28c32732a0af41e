"""outputs of a peer beside the reference → how far they agree: no speed counts without it.

The reference is our torch module in float32; for speech it is what was said.
"""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loadtests.peers.peer import IMAGE, REFERENCE, SPEECH, TRANSLATION
from loadtests.peers.race import Quality
from models.evaluate import word_error_rate

EQUAL_TOKENS, SAME_CLASS = "equal tokens, %", "same class, %"
DIFFERENCE, ERRORS = "largest difference of a logit", "word error rate, %"


def translation(reference: NDArray[Any], tokens: NDArray[Any]) -> dict[str, float]:
    """Position by position, so that whatever follows a difference counts against a peer too."""
    if tokens.shape != reference.shape:
        raise ValueError(f"tokens of shape {tokens.shape}, wanted {reference.shape}")
    return {EQUAL_TOKENS: round(100 * float((tokens == reference).mean()), 2)}


def speech(reference: NDArray[Any], texts: NDArray[Any]) -> dict[str, float]:
    return {ERRORS: round(word_error_rate(texts.tolist(), reference.tolist()), 2)}


def image(reference: NDArray[Any], logits: NDArray[Any]) -> dict[str, float]:
    same = (logits.argmax(axis=1) == reference.argmax(axis=1)).mean()
    difference = float(np.abs(logits - reference).max())
    return {SAME_CLASS: round(100 * float(same), 2), DIFFERENCE: float(f"{difference:.2g}")}


JUDGES = {TRANSLATION: translation, SPEECH: speech, IMAGE: image}


def judge(kind: str, folder: Path) -> Quality:
    return partial(JUDGES[kind], np.load(folder / REFERENCE))
