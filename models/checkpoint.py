"""model, optimizers, step → `checkpoint.pt` of a run folder, and back."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn

from models.catalogue import Architecture, architecture
from models.recipe import Recipe

NAME = "checkpoint.pt"


def save(
    run_dir: Path,
    of: Architecture,
    recipe: Recipe,
    model: nn.Module,
    optimizers: list[torch.optim.Optimizer],
    *,
    step: int,
) -> None:
    """Write the checkpoint in one move, so that a crash leaves the one before."""
    config: Any = model.config
    state = {
        "architecture": of.name,
        "config": asdict(config),
        "recipe": asdict(recipe),
        "step": step,
        "model": model.state_dict(),
        "optimizers": [optimizer.state_dict() for optimizer in optimizers],
    }
    partial = run_dir / f"{NAME}.partial"
    torch.save(state, partial)
    partial.replace(run_dir / NAME)


def read(run_dir: Path) -> dict[str, Any]:
    state: dict[str, Any] = torch.load(run_dir / NAME, map_location="cpu", weights_only=True)
    return state


def restore(run_dir: Path, model: nn.Module, optimizers: list[torch.optim.Optimizer]) -> int:
    """Fill model and optimizers from a run folder; returns the steps it has done."""
    state = read(run_dir)
    model.load_state_dict(state["model"])
    for optimizer, saved in zip(optimizers, state["optimizers"], strict=True):
        optimizer.load_state_dict(saved)
    return int(state["step"])


def load_model(run_dir: Path) -> tuple[Architecture, nn.Module]:
    """The architecture and the trained model of a run folder, in evaluation mode."""
    state = read(run_dir)
    of = architecture(state["architecture"])
    model = of.build(of.config(**state["config"]))
    model.load_state_dict(state["model"])
    return of, model.eval()
