"""Folding: a group counts in attention as its positions would, each by itself."""

import torch

from models.attention import attend
from models.folding import fold, unfold

BEGINS = torch.tensor([0, 1, 2, 6, 9])
LENGTH = 10


def test_a_group_counts_as_often_as_it_has_positions() -> None:
    torch.manual_seed(0)
    query, key, value = (torch.randn(2, 3, 5, 4) for _ in range(3))
    whole = (unfold(key, BEGINS, LENGTH), unfold(value, BEGINS, LENGTH))
    _, bias = fold(BEGINS, LENGTH)
    torch.testing.assert_close(attend(query, key, value, mask=bias), attend(query, *whole))


def test_the_middle_of_a_group_stands_for_it() -> None:
    places, bias = fold(BEGINS, LENGTH)
    assert places.tolist() == [0, 1, 4, 7, 9]
    torch.testing.assert_close(bias.exp().flatten(), torch.tensor([1.0, 1.0, 4.0, 3.0, 1.0]))


def test_every_position_has_what_stands_for_its_group() -> None:
    numbers = torch.arange(5.0)[None, None, :, None]
    assert unfold(numbers, BEGINS, LENGTH).flatten().tolist() == [0, 1, 2, 2, 2, 2, 3, 3, 3, 4]
