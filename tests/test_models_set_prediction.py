"""Sets of guesses: each object has one guess of its own, the cheapest way for all of them."""

from itertools import permutations

import pytest
import torch
from torch import Tensor

from models import set_prediction
from models.score import IGNORE

CLASSES = 10


def batch(*labels: list[int]) -> dict[str, Tensor]:
    sizes = (len(labels), len(labels[0]))
    low = torch.rand(*sizes, 2) * 0.5
    boxes = torch.cat([low + 0.2, torch.rand(*sizes, 2) * 0.3 + 0.1], dim=-1)
    return {"boxes": boxes, "labels": torch.tensor(labels)}


def said(sets: int, guesses: int) -> tuple[Tensor, Tensor]:
    return torch.randn(sets, guesses, CLASSES + 1), torch.rand(sets, guesses, 4) * 0.5 + 0.2


def cost(logits: Tensor, boxes: Tensor, label: Tensor, true: Tensor) -> Tensor:
    """Of one guess for one object, spelled out."""
    likely = logits.softmax(-1)[label]
    apart = -set_prediction.overlap(true, boxes)[1]
    far = (true - boxes).abs().sum()
    return (
        -set_prediction.CLASS_COST * likely
        + set_prediction.L1_COST * far
        + set_prediction.GIOU_COST * apart
    )


def test_the_matching_is_the_cheapest_of_all() -> None:
    (logits, boxes), there = said(3, 5), batch([1, 2, 2], [0, 9, 3], [4, 4, 4])
    found = set_prediction.matched(logits, boxes, there["labels"], there["boxes"])
    for row in range(3):
        costs = [
            [cost(logits[row, g], boxes[row, g], there["labels"][row, o], there["boxes"][row, o])
             for g in range(5)]
            for o in range(3)
        ]  # fmt: skip
        cheapest = min(
            permutations(range(5), 3), key=lambda way: sum(costs[o][g] for o, g in enumerate(way))
        )
        assert found[row].tolist() == list(cheapest)


def test_overlap_is_that_of_rectangles() -> None:
    one = torch.tensor([0.5, 0.5, 0.2, 0.2])
    others = torch.tensor([[0.5, 0.5, 0.2, 0.2], [0.6, 0.5, 0.2, 0.2], [0.9, 0.5, 0.2, 0.2]])
    iou, generalised = set_prediction.overlap(one, others)
    assert iou.tolist() == pytest.approx([1, 1 / 3, 0], abs=1e-5)
    assert generalised.tolist() == pytest.approx([1, 1 / 3, -1 / 3], abs=1e-5)


def test_what_fills_up_a_batch_teaches_nothing() -> None:
    (logits, boxes), there = said(2, 4), batch([1, 2], [3, IGNORE])
    loss = set_prediction.set_loss(logits, boxes, there)
    there["boxes"][1, 1] = torch.tensor([0.1, 0.9, 0.1, 0.1])
    assert set_prediction.set_loss(logits, boxes, there) == loss


def test_a_perfect_answer_costs_nothing_in_any_order() -> None:
    there = batch([1, 2])
    logits = torch.full((1, 3, CLASSES + 1), -50.0)
    for guess, label in enumerate((CLASSES, 2, 1)):
        logits[0, guess, label] = 50
    boxes = torch.cat([torch.rand(1, 1, 4), there["boxes"].flip(1)], dim=1)
    assert set_prediction.set_loss(logits, boxes, there) == pytest.approx(0, abs=1e-5)


def test_an_object_found_twice_is_wrong_once() -> None:
    there = batch([1])
    twice = torch.full((1, 2, CLASSES + 1), -50.0)
    twice[0, :, 1] = 50
    assert set_prediction.set_loss(twice, there["boxes"].expand(-1, 2, -1), there) > 1
