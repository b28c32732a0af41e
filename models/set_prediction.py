"""guesses and what is there → which guess stands for which object, and the loss of the set.

Source: Carion et al. 2020, "End-to-End Object Detection with Transformers", 3.1 and A.2.
"""

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn import functional

from models.datasets import Batch
from models.score import IGNORE

CLASS_COST, L1_COST, GIOU_COST = 1.0, 5.0, 2.0
"""Weights of the parts of the loss, and of the cost of a match (Carion et al. 2020, A.4)."""
NOTHING_WEIGHT = 0.2
"""Of guesses that are matched with nothing, which are most (there: 0.1, of 100 guesses)."""

Logits = Float[Tensor, "sets guesses classes_and_nothing"]
Boxes = Float[Tensor, "sets guesses 4"]
"""Centre, width and height, as shares of the picture's sides."""


def overlap(
    one: Float[Tensor, "*sets 4"], other: Float[Tensor, "*sets 4"]
) -> tuple[Float[Tensor, "*sets"], Float[Tensor, "*sets"]]:
    """Intersection over union, and its generalisation to boxes apart (Rezatofighi et al. 2019)."""
    lows = [box[..., :2] - box[..., 2:] / 2 for box in (one, other)]
    highs = [box[..., :2] + box[..., 2:] / 2 for box in (one, other)]
    shared = (torch.minimum(*highs) - torch.maximum(*lows)).clamp(min=0).prod(-1)
    hull = (torch.maximum(*highs) - torch.minimum(*lows)).prod(-1)
    union = one[..., 2:].prod(-1) + other[..., 2:].prod(-1) - shared
    iou = shared / union.clamp(min=1e-6)
    return iou, iou - 1 + union / hull.clamp(min=1e-6)


def matched(
    logits: Logits,
    boxes: Boxes,
    labels: Int[Tensor, "sets objects"],
    true_boxes: Float[Tensor, "sets objects 4"],
) -> Int[Tensor, "sets objects"]:
    """The guess that stands for each object: those that cost least together, each for one only.

    A label of `IGNORE` costs nothing, and its guess has no meaning.
    """
    with torch.no_grad():
        there = (labels != IGNORE)[..., None]
        chosen = labels.clamp(min=0)[:, None].expand(-1, logits.shape[1], -1)
        likely = logits.softmax(-1).gather(2, chosen).transpose(1, 2)
        far = torch.cdist(true_boxes, boxes, p=1)
        apart = -overlap(true_boxes[:, :, None], boxes[:, None])[1]
        cost = there * (-CLASS_COST * likely + L1_COST * far + GIOU_COST * apart)
    best = [linear_sum_assignment(each)[1] for each in cost.numpy()]
    return torch.from_numpy(np.stack(best))


def set_loss(logits: Logits, boxes: Boxes, batch: Batch) -> Float[Tensor, ""]:
    """Cross entropy of all guesses, L1 and generalised IoU of those that stand for an object."""
    logits, boxes = logits.float(), boxes.float()
    groups = len(logits) // len(batch["labels"])
    labels = batch["labels"].repeat_interleave(groups, dim=0)
    true_boxes = batch["boxes"].repeat_interleave(groups, dim=0)
    nothing = logits.shape[2] - 1
    there, rows = labels != IGNORE, torch.arange(len(labels))[:, None]
    guesses = matched(logits, boxes, labels, true_boxes)
    classes = torch.full(logits.shape[:2], nothing)
    classes[rows, guesses] = labels.where(there, nothing)
    weights = torch.ones(nothing + 1)
    weights[nothing] = NOTHING_WEIGHT
    named = functional.cross_entropy(logits.flatten(0, 1), classes.flatten(), weights)
    own, true = boxes[rows, guesses][there], true_boxes[there]
    far = (own - true).abs().sum(-1).mean()
    apart = 1 - overlap(own, true)[1].mean()
    return CLASS_COST * named + L1_COST * far + GIOU_COST * apart
