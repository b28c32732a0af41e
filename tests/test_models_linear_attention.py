"""Linear attention: what the formula says, position by position, in whole and in steps."""

import pytest
import torch
from torch import Tensor

from models.linear_attention import CHUNK, attend, attend_causal, attend_step, feature_map, summed

SHAPE = (2, 3)
"""Of batch and heads."""
HEAD_DIM, VALUE_DIM = 5, 7


def projected(length: int) -> tuple[Tensor, Tensor, Tensor]:
    query, key = torch.randn(2, *SHAPE, length, HEAD_DIM)
    return query, key, torch.randn(*SHAPE, length, VALUE_DIM)


def by_the_formula(query: Tensor, key: Tensor, value: Tensor, keep: Tensor) -> Tensor:
    """Equation 4, one pair after another; `keep` says which keys a query sees."""
    out = torch.zeros(*query.shape[:3], value.shape[3])
    for i in range(query.shape[2]):
        weights = (feature_map(query[:, :, i, None]) * feature_map(key)).sum(-1) * keep[i]
        out[:, :, i] = (weights[..., None] * value).sum(2) / weights.sum(-1, keepdim=True)
    return out


def test_the_feature_map_is_positive_and_linear_above_zero() -> None:
    x = torch.linspace(-9, 9, 200)
    assert (feature_map(x) > 0).all()
    torch.testing.assert_close(feature_map(x[x > 0]), x[x > 0] + 1)


def test_a_whole_sequence_is_attended_as_the_formula_says() -> None:
    query, key, value = projected(9)
    expected = by_the_formula(query, key, value, torch.ones(9, 9))
    torch.testing.assert_close(attend(query, summed(key, value)), expected)


def test_keys_that_are_not_kept_count_nothing() -> None:
    _, key, value = projected(9)
    keep = torch.arange(9) < torch.tensor([[9], [4]])
    masked = summed(key, value, keep=keep[:, None, :, None])
    torch.testing.assert_close(masked[1:], summed(key[1:, :, :4], value[1:, :, :4]))
    torch.testing.assert_close(masked[:1], summed(key[:1], value[:1]))


@pytest.mark.parametrize("length", [1, 7, CHUNK, CHUNK + 1, 3 * CHUNK - 5])
def test_causal_attention_is_the_same_in_whole_in_steps_and_by_the_formula(length: int) -> None:
    query, key, value = projected(length)
    whole = attend_causal(query, key, value)
    seen = torch.ones(length, length).tril()
    torch.testing.assert_close(whole, by_the_formula(query, key, value, seen))
    sums = torch.zeros(*SHAPE, HEAD_DIM, VALUE_DIM + 1)
    for t in range(length):
        now = slice(t, t + 1)
        out, sums = attend_step(query[:, :, now], key[:, :, now], value[:, :, now], sums=sums)
        torch.testing.assert_close(out, whole[:, :, now])


def test_what_a_step_keeps_is_as_large_after_many_as_after_one() -> None:
    query, key, value = projected(1)
    sums = summed(key, value)
    for _ in range(50):
        _, after = attend_step(query, key, value, sums=sums)
        assert after.shape == sums.shape
        sums = after
