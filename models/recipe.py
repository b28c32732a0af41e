"""what to train → one frozen record: the data, the length and the optimizer of a training run."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

SEED = 17
"""Of a recipe that states none; the dev splits that are drawn follow from it too."""


@dataclass(frozen=True)
class Recipe:
    """One training run. Every random choice in it follows from `seed` and the step number."""

    preset: str
    dataset: str
    steps: int
    learning_rate: float
    data: Mapping[str, float | int | str] = field(default_factory=dict)
    """Options of the dataset's `load`, such as the batch size."""
    warmup_steps: int = 100
    decay_share: float = 0.4
    """The last share of the steps, over which the learning rate falls linearly to zero."""
    weight_decay: float = 0.01
    bf16: bool = True
    """Matrix products in bfloat16 (weights and optimizer stay float32)."""
    evaluate_every_steps: int = 500
    task: str = ""
    """Route name of the task that serves what is trained; the recipe's own name if not set."""
    optimizer: Literal["muon", "adamw"] = "muon"
    """Muon for hidden matrices, or AdamW for all, as nearly all published models were trained."""
    patience: int = 0
    """Evaluations without a better dev accuracy after which training ends, and the best weights are
    the result; 0 goes to the end and takes the last."""
    base: str = ""
    """Name and version of the model that training begins from; empty for random weights."""
    seed: int = SEED
