"""encoded sources → token sequences: greedy and beam search over a cache that stays in place.

Rows of finished items are filled with the last live ones, so that a step computes live rows only.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.candidates import best, log_sum_exp
from service.session import Runner
from service.slots import Slots

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


def considered(width: int) -> int:
    """How many tokens of each hypothesis a search looks at.

    At most `width` of the best 2 * width of all can be ends, so that `width` open ones remain; a
    greedy search is over with its first end.
    """
    return 1 if width == 1 else 2 * width


@dataclass
class _Live:
    """The open hypotheses of one item, best first, and those that have ended."""

    index: int
    budget: int
    length_penalty: float
    tokens: list[list[int]]
    scores: list[float]
    ended: list[Hypothesis] = field(default_factory=list)

    def advance(self, candidates: NDArray[np.int64], added: Logits, end: int) -> list[int]:
        """Extend by one token; returns the parent of each new open hypothesis.

        `candidates` are the best `considered(width)` tokens of each open hypothesis, best first,
        `added` their log-probabilities. A greedy search that has ended keeps its tokens.
        """
        width = len(self.scores)
        totals = np.array(self.scores)[:, None] + added
        order = np.argsort(-totals, axis=None, kind="stable")[: 2 * width]
        parents: list[int] = []
        tokens: list[list[int]] = []
        scores: list[float] = []
        for flat in order:
            parent, rank = divmod(int(flat), totals.shape[1])
            token, score = int(candidates[parent, rank]), float(totals[parent, rank])
            if token == end:
                if len(parents) < width and np.isfinite(score):
                    self.ended.append(Hypothesis(self.tokens[parent], score))
            elif len(parents) < width:
                parents.append(parent)
                tokens.append([*self.tokens[parent], token])
                scores.append(score)
        if parents:
            self.tokens, self.scores = tokens, scores
        return parents or [0]

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
    first: Callable[[Logits], None] | None = None,
) -> list[list[Hypothesis]]:
    """Decode a batch; returns the hypotheses of each item, best first.

    `encoded` holds what the decoder graph takes from the encoder, batch first, and is written over
    as rows finish, for it may be large; `prompts` are of one length. Hypotheses are compared by
    their log-probability over their length to the power of the item's length penalty (1 unless
    given); beam search ends when no open one can overtake. `first` is shown the logits
    behind the first token of the prompts, before the rule.
    """
    prompt_len = len(prompts[0])
    slots = Slots(model, encoded, beam_size=beam_size, max_len=prompt_len + max(max_new_tokens))
    open_scores = [0.0] + [-np.inf] * (beam_size - 1)
    penalties = length_penalties or [1.0] * len(prompts)
    live = [
        _Live(index, budget, penalty, [[] for _ in open_scores], list(open_scores))
        for index, (budget, penalty) in enumerate(zip(max_new_tokens, penalties, strict=True))
    ]
    results: list[list[Hypothesis]] = [[] for _ in prompts]

    def step(tokens: Sequence[int], position: int) -> Logits:
        logits = slots.step(tokens, position)
        if first and position == 0:
            first(logits)
        return logits

    for position in range(prompt_len - 1):
        step(_repeated((prompt[position] for prompt in prompts), beam_size), position)
    position = prompt_len - 1
    while live:
        tokens = [
            generated[-1] if generated else prompts[item.index][-1]
            for item in live
            for generated in item.tokens
        ]
        logits = step(tokens, position)
        if rule:
            rule(logits, [generated for item in live for generated in item.tokens])
        candidates, values = best(logits, considered(beam_size))
        values = values - log_sum_exp(logits, tops=values[:, 0])[:, None]
        parents: list[list[int]] = []
        for slot, item in enumerate(live):
            rows = slice(slot * beam_size, (slot + 1) * beam_size)
            chosen = item.advance(candidates[rows], values[rows], end)
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
