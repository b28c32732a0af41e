"""model, optimizers, step → `checkpoint.pt` of a run folder, and back."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from models.catalogue import Architecture, architecture, architecture_names
from models.recipe import Recipe

NAME = "checkpoint.pt"
FIELDS = ("architecture", "config", "recipe", "step", "model", "optimizers")
NAMED = 3
"""Tensors that an error names; a wrong checkpoint differs in hundreds."""


@dataclass(frozen=True)
class Best:
    """The weights that were best on the dev split so far."""

    step: int
    metrics: Mapping[str, float]
    model: Mapping[str, torch.Tensor]

    @property
    def rank(self) -> tuple[float, float]:
        """The higher the better; the loss decides between equal accuracies."""
        return self.metrics["dev_accuracy"], -self.metrics["dev_loss"]


class BadCheckpoint(ValueError):
    """A checkpoint that cannot be used; the message says why and what to do."""


def save(
    run_dir: Path,
    of: Architecture,
    recipe: Recipe,
    model: nn.Module,
    optimizers: list[torch.optim.Optimizer],
    *,
    step: int,
    best: Best | None = None,
    core_s: float = 0.0,
) -> None:
    """Write the checkpoint in one move, so that a crash leaves the one before.

    `core_s` is what training has taken so far, the time of all cores added up.
    """
    config: Any = model.config
    state = {
        "architecture": of.name,
        "config": asdict(config),
        "recipe": asdict(recipe),
        "step": step,
        "model": model.state_dict(),
        "optimizers": [optimizer.state_dict() for optimizer in optimizers],
        "best": None if best is None else vars(best),
        "core_s": core_s,
    }
    partial = run_dir / f"{NAME}.partial"
    torch.save(state, partial)
    partial.replace(run_dir / NAME)


def read(run_dir: Path) -> dict[str, Any]:
    """The checkpoint of a run folder; raises `BadCheckpoint`."""
    path = run_dir / NAME
    if not path.exists():
        raise BadCheckpoint(f"{path} is not there: train first, or name the run's folder")
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        missing = [field for field in FIELDS if field not in state]
    except Exception as error:  # what a damaged archive raises depends on where the damage is
        why = str(error).partition("\n")[0]
        raise BadCheckpoint(
            f"{path} is damaged or cut off: copy it again, or train again: {why}"
        ) from error
    if missing:
        raise BadCheckpoint(
            f"{path} lacks {', '.join(missing)}: only what `python -m models train` writes is read"
        )
    return state


def fit(model: nn.Module, tensors: Mapping[str, torch.Tensor], *, source: Path) -> None:
    """Fill a model with the tensors of a file; raises `BadCheckpoint` unless they are its own."""
    own = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    given = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    faults = [
        *(f"{name} is missing" for name in own.keys() - given.keys()),
        *(f"{name} has no place in it" for name in given.keys() - own.keys()),
        *(
            f"{name} has shape {given[name]}, not {own[name]}"
            for name in own.keys() & given.keys()
            if own[name] != given[name]
        ),
    ]
    if faults:
        more = f" and {len(faults) - NAMED} more" if len(faults) > NAMED else ""
        raise BadCheckpoint(
            f"{source} does not hold a {type(model).__name__} of these sizes: "
            f"{'; '.join(sorted(faults)[:NAMED])}{more}"
        )
    model.load_state_dict(tensors)


def restore(run_dir: Path, model: nn.Module, optimizers: list[torch.optim.Optimizer]) -> int:
    """Fill model and optimizers from a run folder; returns the steps it has done."""
    state = read(run_dir)
    fit(model, state["model"], source=run_dir / NAME)
    for optimizer, saved in zip(optimizers, state["optimizers"], strict=True):
        optimizer.load_state_dict(saved)
    return int(state["step"])


def core_s_of(state: Mapping[str, Any]) -> float:
    """What training took; 0 in checkpoints of before that was kept."""
    return float(state.get("core_s", 0.0))


def best_of(state: Mapping[str, Any]) -> Best | None:
    """The best weights, if the run looks for them."""
    found = state.get("best")
    return Best(**found) if found else None


def better(best: Best | None, model: nn.Module, metrics: Mapping[str, float], *, step: int) -> Best:
    """The best weights, which are now those of `model` if its metrics are better."""
    here = Best(step, dict(metrics), {})
    if best and here.rank <= best.rank:
        return best
    state = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
    return replace(here, model=state)


def load_model(run_dir: Path) -> tuple[Architecture, nn.Module]:
    """The architecture and the trained model of a run folder, in evaluation mode.

    That is the best one of a run that looks for it, and else the last.
    """
    state, path = read(run_dir), run_dir / NAME
    if state["architecture"] not in architecture_names():
        raise BadCheckpoint(
            f"{path} is of architecture {state['architecture']!r}, not one of "
            f"{', '.join(architecture_names())}"
        )
    of = architecture(state["architecture"])
    try:
        model = of.build(of.config(**state["config"]))
    except TypeError as error:
        raise BadCheckpoint(f"{path} does not have the sizes of a {of.name}: {error}") from error
    best = best_of(state)
    fit(model, best.model if best else state["model"], source=path)
    return of, model.eval()
