"""token ids of sentence pairs → batches of pairs of about the same length."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch

from models.datasets import Batch
from models.score import IGNORE


class Sentences:
    """Pairs sorted by length and cut into batches of a bounded number of padded tokens."""

    def __init__(
        self,
        sources: list[list[int]],
        targets: list[list[int]],
        *,
        batch_tokens: int,
        pad: int,
        seed: int,
        shuffle: bool,
        prompt_tokens: int = 1,
    ) -> None:
        """Targets begin with a prompt, which is given and not learnt, and end with an end."""
        self.sources, self.targets, self.prompt_tokens = sources, targets, prompt_tokens
        self.pad, self.seed, self.shuffle = pad, seed, shuffle
        self.lengths = np.array([[len(t), len(s)] for s, t in zip(sources, targets, strict=True)])
        # The sorted lengths, and so the cuts, are the same in every pass; only ties change places.
        longest = np.sort(self.lengths.max(axis=1))
        self.cuts = [0]
        for end in range(1, len(longest) + 1):
            rows = end - self.cuts[-1]
            if end == len(longest) or (rows + 1) * longest[end] > batch_tokens:
                self.cuts.append(end)
        self._pass_order = lru_cache(maxsize=2)(self._order)

    def __len__(self) -> int:
        return len(self.cuts) - 1

    def _order(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng((self.seed, epoch))
        ties = rng.random(len(self.sources)) if self.shuffle else np.zeros(len(self.sources))
        rows = np.lexsort((ties, self.lengths.max(axis=1)))
        return rows, rng.permutation(len(self)) if self.shuffle else np.arange(len(self))

    def batch(self, step: int) -> Batch:
        epoch, index = divmod(step, len(self))
        rows, batches = self._pass_order(epoch)
        cut = int(batches[index])
        chosen = rows[self.cuts[cut] : self.cuts[cut + 1]]
        sources = [self.sources[row] for row in chosen]
        targets = [self.targets[row] for row in chosen]
        return {
            "source": padded(sources, self.pad),
            "source_lengths": torch.tensor([len(source) for source in sources]),
            "target": padded([target[:-1] for target in targets], self.pad),
            "labels": padded([learnt(target, self.prompt_tokens) for target in targets], IGNORE),
        }


def learnt(target: Sequence[int], prompt_tokens: int) -> list[int]:
    """What is to follow each token of a target but the last; within the prompt nothing is."""
    return [IGNORE] * (prompt_tokens - 1) + list(target[prompt_tokens:])


def padded(rows: Sequence[Sequence[int]], fill: int) -> torch.Tensor:
    """Rows of token ids as long as the longest, filled up at their ends."""
    array = np.full((len(rows), max(map(len, rows))), fill, np.int64)
    for index, row in enumerate(rows):
        array[index, : len(row)] = row
    return torch.from_numpy(array)
