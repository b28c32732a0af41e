"""logits and labels → sums over a batch, from which a data split's loss and accuracy follow."""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

IGNORE = -100
"""The label of a position that does not count, such as padding."""


def sums(logits: Float[Tensor, "*axes classes"], labels: Int[Tensor, "*axes"]) -> dict[str, float]:
    """`count` of the labels, the `loss` of all (cross entropy), how many are `correct`."""
    loss = functional.cross_entropy(
        logits.flatten(0, -2).float(), labels.flatten(), ignore_index=IGNORE, reduction="sum"
    )
    kept = labels != IGNORE
    correct = torch.sum((logits.argmax(-1) == labels) & kept)
    return {"count": float(kept.sum()), "loss": float(loss), "correct": float(correct)}
