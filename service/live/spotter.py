"""class logits, position by position → keywords, each told once and as soon as it is sure.

A model of one second takes the mean of its positions; so is the second behind every position of a
stream heard here. A keyword is told when its probability rises over a bound, and can be told again
once that second is over and it has fallen below another (Chen et al. 2014, "Small-Footprint
Keyword Spotting Using Deep Neural Networks": smoothed probabilities, the largest of a while).
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32
from numpy import ndarray

HEARD_S = 1.0
"""Positions of so long a time decide together, as in training."""
LEAST_S = 0.5
"""Of a stream has been heard before anything is told of it."""
SURE, FORGOTTEN = 0.6, 0.3
"""Probability at which a keyword is told, and under which it may be told again."""


@dataclass(frozen=True)
class Spotted:
    """A keyword, how probable it was when it was told, and about when it was spoken."""

    label: str
    score: float
    start_s: float
    end_s: float


class Spotter:
    """Follows one stream."""

    def __init__(self, labels: Sequence[str]) -> None:
        """Labels in the order of the classes; those that begin with _ are no keywords."""
        self._labels = labels
        self._keyword = np.array([not label.startswith("_") for label in labels])
        self._heard: deque[tuple[float, Float32[ndarray, " classes"]]] = deque()
        self._told: tuple[int, float] | None = None
        """The last keyword, and when it was told."""

    def hear(self, logits: Float32[ndarray, " classes"], at_s: float) -> Spotted | None:
        """What the model says of the next position, and when that is."""
        self._heard.append((at_s, logits))
        while self._heard[0][0] <= at_s - HEARD_S:
            self._heard.popleft()
        if at_s - self._heard[0][0] < LEAST_S:
            return None
        mean = np.mean([each for _, each in self._heard], axis=0)
        odds = np.exp(mean - mean.max())
        scores = odds / odds.sum()
        if self._told and at_s >= self._told[1] + HEARD_S and scores[self._told[0]] < FORGOTTEN:
            self._told = None
        best = int((scores * self._keyword).argmax())
        if scores[best] < SURE or (self._told and best == self._told[0]):
            return None
        self._told = best, at_s
        spoken = [when_s for when_s, each in self._heard if each.argmax() == best] or [at_s]
        return Spotted(self._labels[best], float(scores[best]), spoken[0], spoken[-1])
