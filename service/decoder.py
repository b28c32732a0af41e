"""encoded sources → token sequences: greedy and beam search over a cache that stays in place.

The decoder graph takes one token per row and writes each layer's new key and value into the
buffers it is given: past and present are bound to the same memory, so a step copies no cache.
One row is one hypothesis. Rows of finished items are filled with the last live ones, so that a
step computes live rows only.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.session import Runner

Logits = NDArray[np.float32]
Rule = Callable[[Logits, list[list[int]]], None]
"""Edits the logits (rows, vocab) in place, given the tokens generated so far for each row."""


@dataclass(frozen=True)
class Hypothesis:
    """A finished sequence, without prompt and end token."""

    tokens: list[int]
    log_probability: float
    """Sum over the tokens and, where it was reached, the end token."""
    ended: bool = True

    @property
    def score(self) -> float:
        """Mean log-probability of a token."""
        return self.ranked(1.0)

    def ranked(self, length_penalty: float) -> float:
        """By what hypotheses of different lengths are compared; 0 prefers short ones, 1 none."""
        length = len(self.tokens) + self.ended or 1
        return self.log_probability / math.pow(length, length_penalty)


@dataclass
class _Live:
    """The open hypotheses of one item, best first, and those that have ended."""

    index: int
    budget: int
    length_penalty: float
    tokens: list[list[int]]
    scores: list[float]
    ended: list[Hypothesis] = field(default_factory=list)

    def advance(self, log_probabilities: Logits, end: int) -> list[int]:
        """Extend by one token; returns the parent of each new open hypothesis."""
        width = len(self.scores)
        totals = np.array(self.scores)[:, None] + log_probabilities
        # At most `width` of the best 2 * width can be ends, so `width` open ones remain.
        best = np.argpartition(-totals, 2 * width - 1, axis=None)[: 2 * width]
        best = best[np.argsort(-totals.ravel()[best], kind="stable")]
        parents: list[int] = []
        tokens: list[list[int]] = []
        scores: list[float] = []
        for flat in best:
            parent, token = divmod(int(flat), totals.shape[1])
            score = float(totals[parent, token])
            if token == end:
                if len(parents) < width and np.isfinite(score):
                    self.ended.append(Hypothesis(self.tokens[parent], score))
            elif len(parents) < width:
                parents.append(parent)
                tokens.append([*self.tokens[parent], token])
                scores.append(score)
        self.tokens, self.scores = tokens, scores
        return parents

    def done(self) -> bool:
        """No open hypothesis can still beat the ended ones, or the budget is used up."""
        if len(self.tokens[0]) >= self.budget:
            return True
        if len(self.ended) < len(self.scores):
            return False
        # Greedy search ends with the first end token that is the best one.
        longest = (self.budget + 1) ** self.length_penalty
        return len(self.scores) == 1 or (
            max(ended.ranked(self.length_penalty) for ended in self.ended)
            >= self.scores[0] / longest
        )

    def result(self) -> list[Hypothesis]:
        cut = [
            Hypothesis(tokens, score, ended=False)
            for tokens, score in zip(self.tokens, self.scores, strict=True)
            if np.isfinite(score)
        ]
        return sorted(self.ended or cut, key=lambda each: -each.ranked(self.length_penalty))


class _Slots:
    """Row buffers of one decoding batch, bound to the decoder graph by address."""

    def __init__(
        self, model: Runner, encoded: Mapping[str, NDArray[Any]], *, beam_size: int, max_len: int
    ) -> None:
        self.model = model
        self.beam_size = beam_size
        self.memory = {
            name: np.ascontiguousarray(array if beam_size == 1 else array.repeat(beam_size, axis=0))
            for name, array in encoded.items()
        }
        rows = len(next(iter(self.memory.values())))
        shapes = model.shapes("decoder")
        self.caches = {
            name: np.zeros((rows, int(shape[1]), max_len, int(shape[3])), np.float32)
            for name, shape in shapes.items()
            if name.startswith("past_key_") or name.startswith("past_value_")
        }
        self.logits = np.empty((rows, int(shapes["logits"][1])), np.float32)

    def step(self, tokens: Sequence[int], past_length: int) -> Logits:
        """Feed one token per row at position `past_length`; returns logits (rows, vocab)."""
        rows = len(tokens)
        caches = {name: array[:rows] for name, array in self.caches.items()}
        inputs = {
            "tokens": np.array(tokens, np.int64)[:, None],
            "past_lengths": np.full(rows, past_length, np.int64),
            **{name: array[:rows] for name, array in self.memory.items()},
            **caches,
        }
        outputs = {name.replace("past", "present", 1): array for name, array in caches.items()}
        self.model.run_into("decoder", inputs, {"logits": self.logits[:rows], **outputs})
        return self.logits[:rows]

    def move(self, parents: Sequence[int], length: int) -> None:
        """Row i continues row `parents[i]`; only rows that change are copied."""
        to = [row for row, parent in enumerate(parents) if row != parent]
        source = [parents[row] for row in to]
        if to:
            for array in self.caches.values():
                array[to, :, :length] = array[source, :, :length]
        # The hypotheses of one item share what the encoder gave it.
        to = [row for row in to if row // self.beam_size != parents[row] // self.beam_size]
        source = [parents[row] for row in to]
        if to:
            for array in self.memory.values():
                array[to] = array[source]


def log_softmax(logits: Logits) -> Logits:
    shifted = logits - logits.max(axis=-1, keepdims=True)
    out: Logits = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return out


def decode(
    model: Runner,
    encoded: Mapping[str, NDArray[Any]],
    *,
    prompts: Sequence[Sequence[int]],
    end: int,
    max_new_tokens: Sequence[int],
    beam_size: int = 1,
    length_penalties: Sequence[float] | None = None,
    rule: Rule | None = None,
) -> list[list[Hypothesis]]:
    """Decode a batch; returns the hypotheses of each item, best first.

    `encoded` holds what the decoder graph takes from the encoder, batch first, and is written over
    as rows finish, for it may be large; `prompts` are of one length. Hypotheses are compared by
    their log-probability over their length to the power of the item's length penalty (1 unless
    given); beam search ends when no open one can overtake.
    """
    prompt_len = len(prompts[0])
    slots = _Slots(model, encoded, beam_size=beam_size, max_len=prompt_len + max(max_new_tokens))
    first = [0.0] + [-np.inf] * (beam_size - 1)
    penalties = length_penalties or [1.0] * len(prompts)
    live = [
        _Live(index, budget, penalty, [[] for _ in first], list(first))
        for index, (budget, penalty) in enumerate(zip(max_new_tokens, penalties, strict=True))
    ]
    results: list[list[Hypothesis]] = [[] for _ in prompts]
    for position in range(prompt_len - 1):
        slots.step(_repeated((prompt[position] for prompt in prompts), beam_size), position)
    position = prompt_len - 1
    while live:
        tokens = [
            generated[-1] if generated else prompts[item.index][-1]
            for item in live
            for generated in item.tokens
        ]
        logits = slots.step(tokens, position)
        if rule:
            rule(logits, [generated for item in live for generated in item.tokens])
        log_probabilities = log_softmax(logits)
        parents: list[list[int]] = []
        for slot, item in enumerate(live):
            rows = slice(slot * beam_size, (slot + 1) * beam_size)
            chosen = item.advance(log_probabilities[rows], end)
            parents.append([slot * beam_size + parent for parent in chosen])
        position += 1
        for slot in reversed(range(len(live))):
            item = live[slot]
            if item.done():
                results[item.index] = item.result()
                live[slot], parents[slot] = live[-1], parents[-1]
                live.pop(), parents.pop()
        slots.move([row for rows_of_item in parents for row in rows_of_item], position)
    return results


def _repeated(values: Iterable[int], times: int) -> list[int]:
    return [value for value in values for _ in range(times)]
