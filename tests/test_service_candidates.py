"""The best tokens are found by columns as a full sort finds them, and sums of exponents hold."""

import numpy as np
import pytest

from service.candidates import COLUMNS, best, log_sum_exp


def random_logits(rows: int, vocab: int) -> np.ndarray:
    return np.random.default_rng(vocab).standard_normal((rows, vocab)).astype(np.float32) * 3


@pytest.mark.parametrize("vocab", [1, 7, COLUMNS, COLUMNS * 5, COLUMNS * 9 + 1, COLUMNS * 20 - 1])
@pytest.mark.parametrize("count", [1, 2, 8])
def test_the_best_tokens_are_those_of_a_full_sort(vocab: int, count: int) -> None:
    logits = random_logits(3, vocab)
    tokens, values = best(logits, count)
    order = np.argsort(-logits, axis=1)[:, :count]
    assert tokens.tolist() == order.tolist()
    assert np.array_equal(values, np.take_along_axis(logits, order, axis=1))


def test_the_best_of_all_may_be_neighbours_or_the_last_token() -> None:
    logits = random_logits(1, COLUMNS * 12 + 3)
    logits[0, [700, 701, 702]] = [50, 52, 51]
    logits[0, -1] = 49
    tokens, _ = best(logits, 4)
    assert tokens.tolist() == [[701, 702, 700, COLUMNS * 12 + 2]]


def test_forbidden_tokens_come_last() -> None:
    logits = np.full((1, COLUMNS * 8), -np.inf, np.float32)
    logits[0, 1_000] = 1
    tokens, values = best(logits, 3)
    assert tokens[0, 0] == 1_000
    assert np.isneginf(values[0, 1:]).all()


@pytest.mark.parametrize("given", [True, False])
@pytest.mark.parametrize("more", [0, 1_000, -1_000])
def test_log_probabilities_of_a_row_add_up_to_one(given: bool, more: float) -> None:
    logits = random_logits(4, 1_000)
    logits[1] += more  # the last two would be beyond float32, were the largest not subtracted
    logits[2, :999] = -np.inf
    tops = logits.max(axis=1) if given else None
    exact = logits.astype(np.float64)
    sums = np.exp(exact - log_sum_exp(logits, tops=tops)[:, None]).sum(axis=1)
    assert sums == pytest.approx(np.ones(4), abs=1e-3)
