"""entries → batches: in a new order in every pass of training, else in their own."""

from collections.abc import Callable, Sequence
from functools import lru_cache
from math import ceil
from typing import Generic, TypeVar

import numpy as np
from jaxtyping import Int
from numpy import ndarray

from models.datasets import Batch

E = TypeVar("E")


class Rows(Generic[E]):
    """Batches are made when they are asked for: nothing but the entries is kept."""

    def __init__(
        self,
        entries: Sequence[E],
        batch_of: Callable[[Sequence[E]], Batch],
        *,
        batch_size: int,
        seed: int,
        shuffle: bool,
    ) -> None:
        self.entries, self.batch_of = entries, batch_of
        self.batch_size, self.seed, self.shuffle = batch_size, seed, shuffle
        self._pass_order = lru_cache(maxsize=2)(self._order)

    def __len__(self) -> int:
        """Batches in a pass; the last may be smaller."""
        return ceil(len(self.entries) / self.batch_size)

    def _order(self, epoch: int) -> Int[ndarray, " entries"]:
        if not self.shuffle:
            return np.arange(len(self.entries))
        return np.random.default_rng((self.seed, epoch)).permutation(len(self.entries))

    def batch(self, step: int) -> Batch:
        epoch, index = divmod(step, len(self))
        chosen = self._pass_order(epoch)[index * self.batch_size : (index + 1) * self.batch_size]
        return self.batch_of([self.entries[row] for row in chosen])
