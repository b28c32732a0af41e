"""folder → what is in it: architectures, datasets and recipes are found by a loop over files."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from models.datasets import Batch, Loader
from models.graph import Attentions
from models.optimizers import optimizers
from models.recipe import Recipe

REQUIRED = (
    "Config", "PRESETS", "build", "loss", "score", "graphs",
    "TOLERANCE", "attentions", "RECIPES",
)  # fmt: skip


@dataclass(frozen=True)
class Architecture:
    """The names that every file of `architectures/` defines."""

    name: str
    config: Callable[..., Any]
    presets: Mapping[str, Any]
    build: Callable[[Any], nn.Module]
    loss: Callable[[nn.Module, Batch], Tensor]
    score: Callable[[nn.Module, Batch], dict[str, float]]
    graphs: Callable[[Any], Any]
    tolerance: float
    attentions: Callable[[Any], Mapping[str, Attentions]]
    """Config → graph → how often it attends."""
    recipes: Mapping[str, Recipe]
    optimizers: Callable[[nn.Module, Recipe], list[torch.optim.Optimizer]] = optimizers
    """Those of all models, unless the file defines its own."""


def architecture_names() -> list[str]:
    folder = Path(__file__).parent / "architectures"
    return sorted(path.stem for path in folder.glob("[a-z]*.py"))


def architecture(name: str) -> Architecture:
    """Import one architecture; a file that lacks names fails with all of them listed."""
    module = import_module(f"models.architectures.{name}")
    missing = [required for required in REQUIRED if not hasattr(module, required)]
    if missing:
        raise AttributeError(f"models/architectures/{name}.py lacks {', '.join(missing)}")
    return Architecture(
        name,
        module.Config,
        module.PRESETS,
        module.build,
        module.loss,
        module.score,
        module.graphs,
        module.TOLERANCE,
        module.attentions,
        module.RECIPES,
        getattr(module, "optimizers", optimizers),
    )


def recipes() -> dict[str, tuple[Architecture, Recipe]]:
    """Recipe name → its architecture and itself, over all architectures."""
    found = (architecture(name) for name in architecture_names())
    return {name: (of, recipe) for of in found for name, recipe in of.recipes.items()}


def dataset_loader(name: str) -> Loader:
    loader: Loader = import_module(f"models.datasets.{name}").load
    return loader
