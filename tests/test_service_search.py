"""What a search calls certain while it goes on is how its result begins."""

from itertools import pairwise

import numpy as np
import pytest

from service.search import Beam, Search, considered

END, VOCAB = 0, 6


def searched(seed: int) -> tuple[Search, list[list[int]], list[int]]:
    """A search over random log-probabilities → it, what was certain after each step, its result."""
    draw = np.random.default_rng(seed)
    search = Search(
        [1], END, int(draw.integers(1, 15)), int(draw.integers(1, 6)), float(draw.choice([0, 1, 2]))
    )
    beam, certain = Beam(search), [list[int]()]
    sharpness = draw.choice([0.3, 2, 6])
    while not beam.done():
        beam.feed()
        logits = sharpness * draw.standard_normal((search.beam_size, VOCAB))
        values = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        order = np.argsort(-values, axis=1)[:, : considered(search.beam_size)]
        beam.advance(order.tolist(), np.take_along_axis(values, order, axis=1).tolist())
        certain.append(beam.certain(len(certain[-1])))
    return search, certain, beam.result()[0].tokens


@pytest.mark.parametrize("first", range(0, 400, 100))
def test_what_is_certain_stays_and_is_the_beginning_of_the_result(first: int) -> None:
    early = 0
    for seed in range(first, first + 100):
        search, certain, result = searched(seed)
        for before, after in pairwise(certain):
            assert after[: len(before)] == before
        assert result[: len(certain[-1])] == certain[-1]
        early += search.beam_size > 1 and any(certain[:-1])
    assert early > 10, "a beam search knows its first tokens before its last"


def test_all_that_a_greedy_search_has_found_is_certain() -> None:
    for seed in range(100):
        search, certain, result = searched(seed)
        if search.beam_size == 1:
            assert certain == [result[:n] for n in range(len(certain) - 1)] + [result]


@pytest.mark.parametrize(("max_new_tokens", "certain"), [(19, []), (9, [3])])
def test_one_that_ended_is_certain_when_no_open_one_can_become_as_likely(
    max_new_tokens: int, certain: list[int]
) -> None:
    beam = Beam(Search([1], END, max_new_tokens, beam_size=2))
    for candidates, added in (
        ([[3, 4, 2, END], [5] * 4], [[-0.1, -1, -8, -9], [-9.0] * 4]),
        ([[END, 5, 2, 4], [3, 4, 2, 5]], [[-0.1, -3, -8, -9], [-0.1, -4, -8, -9]]),
    ):
        assert beam.certain() == []
        beam.feed()
        beam.advance(candidates, added)
    assert [hypothesis.tokens for hypothesis in beam.ended] == [[3]]
    assert beam.tokens[0] == [4, 3], "its mean is -1.1 by its length"
    assert beam.certain() == certain
    assert not beam.done()
