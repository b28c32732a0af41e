"""logits → the few tokens that may come next, and the log-probabilities they are compared by."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float32, Int64
from numpy import ndarray

Draw = Callable[[Float32[ndarray, " vocab"]], tuple[int, float]]
"""The logits of one row → a token, and its log-probability."""
COLUMNS = 512
"""Of the table that the tokens are laid out in, row by row; only each column's best is looked at
first."""
TOGETHER = 262_144
"""Logits that are added up at once: so many stay in the cache of a core. Fewer would be as fast if
other threads did not wait for the interpreter at every call."""


def log_sum_exp(
    logits: Float32[ndarray, "rows vocab"], *, tops: Float32[ndarray, " rows"] | None = None
) -> Float32[ndarray, " rows"]:
    """What to subtract from the logits of a row to have log-probabilities.

    `tops` are the largest logits, where they are known.
    """
    tops = logits.max(axis=1) if tops is None else tops
    sums = np.empty(len(logits), np.float32)
    few = max(1, TOGETHER // logits.shape[1])
    room = np.empty((few, logits.shape[1]), np.float32)
    for start in range(0, len(logits), few):
        some = slice(start, start + few)
        out = room[: len(sums[some])]
        np.subtract(logits[some], tops[some, None], out=out)
        np.exp(out, out=out).sum(axis=1, out=sums[some])
    return tops + np.log(sums)


def best(
    logits: Float32[ndarray, "rows vocab"], count: int
) -> tuple[Int64[ndarray, "rows count"], Float32[ndarray, "rows count"]]:
    """The `count` best tokens of each row and their logits, best first; fewer if there are fewer.

    They lie in the `count` columns with the best maxima, so that all other tokens are read once.
    """
    rows, vocab = logits.shape
    if count == 1:
        tokens = logits.argmax(axis=1)
        return tokens[:, None], logits[np.arange(rows), tokens][:, None]
    count = min(count, vocab)
    height, rest = divmod(vocab, COLUMNS)
    if height < 2 or count >= COLUMNS:
        tokens = np.broadcast_to(np.arange(vocab), logits.shape)
        values = logits
    else:
        tops = logits[:, : height * COLUMNS].reshape(rows, height, COLUMNS).max(axis=1)
        np.maximum(tops[:, :rest], logits[:, vocab - rest :], out=tops[:, :rest])
        columns = np.sort(np.argpartition(-tops, count - 1, axis=1)[:, :count], axis=1)
        starts = np.arange(0, vocab, COLUMNS)
        tokens = (starts[:, None] + columns[:, None, :]).reshape(rows, -1)
        values = np.take_along_axis(logits, np.minimum(tokens, vocab - 1), axis=1)
        values[tokens >= vocab] = -np.inf  # the last row of the table is shorter
    found = np.sort(np.argpartition(-values, count - 1, axis=1)[:, :count], axis=1)
    ranks = np.argsort(-np.take_along_axis(values, found, axis=1), axis=1, kind="stable")
    order = np.take_along_axis(found, ranks, axis=1)
    return np.take_along_axis(tokens, order, axis=1), np.take_along_axis(values, order, axis=1)


def sampler(temperature: float) -> Draw:
    """Draws from the probabilities at a temperature above 0: the same every time it is made.

    The most likely after Gumbel noise was added is such a draw (Maddison et al. 2014, 2).
    """
    random = np.random.default_rng(0)

    def draw(logits: Float32[ndarray, " vocab"]) -> tuple[int, float]:
        noise = random.gumbel(size=len(logits)).astype(np.float32)
        token = int((logits / temperature + noise).argmax())
        return token, float(logits[token] - log_sum_exp(logits[None])[0])

    return draw
