"""a model and data of one's own → a run folder, to be exported as any other."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import nn

from models import checkpoint, own
from models.catalogue import Architecture
from models.checkpoint import BadCheckpoint
from models.datasets import write_labels
from models.lineage import Lineage
from models.recipe import Recipe
from models.survey import Survey
from models.train import fit
from service.kinds import task_of
from service.manifest import Data, FineTuned, Imported, Manifest
from service.tasks import Task
from service.tasks import task as task_named


def _recipe(task: str, *, learning_rate: float, batch: int) -> Recipe:
    return Recipe(
        preset="",
        dataset=own.FILES[task],
        data={"batch": batch},
        steps=2_000,
        learning_rate=learning_rate,
        warmup_steps=50,
        decay_share=1.0,
        bf16=False,
        evaluate_every_steps=100,
        optimizer="adamw",
        patience=5,
    )


RECIPES = {
    task: _recipe(task, learning_rate=rate, batch=batch)
    for task, rate, batch in (
        ("translation", 5e-5, 2_048),
        ("image-classification", 1e-4, 32),
        ("audio-classification", 1e-4, 32),
        ("automatic-speech-recognition", 2e-5, 8),
    )
}
"""By task. A batch of translation is counted in tokens; `fitted` makes short what is small."""
PASSES, PASSES_FROM_NOTHING = 20, 100
"""Most often that training sees the data, unless it is told how many steps to make."""


@dataclass(frozen=True)
class Start:
    """A model to go on from."""

    name: str
    """With its version; empty for random weights."""
    task: Task
    """As this kind of model does it."""
    data: Data
    """What it has seen."""
    architecture: Architecture
    model: nn.Module
    assets: Sequence[Path]
    """The files that serving needs besides graphs and weights."""
    imported: Imported | None = None
    """The checkpoint that it was made from."""


def published(
    manifest: Manifest, architecture: Architecture, model: nn.Module, assets: Sequence[Path]
) -> Start:
    """A published model to go on from."""
    return Start(
        name=f"{manifest.name}:{manifest.version}",
        task=task_of(task_named(manifest.answers), manifest.graphs),
        data=manifest.data,
        architecture=architecture,
        model=model,
        assets=assets,
        imported=manifest.imported,
    )


def fitted(recipe: Recipe, batches: int, *, steps: int | None) -> Recipe:
    """The recipe for so many batches a pass: some passes, each with an evaluation."""
    passes = PASSES if recipe.base else PASSES_FROM_NOTHING
    steps = steps or min(recipe.steps, passes * batches)
    return replace(
        recipe,
        steps=steps,
        warmup_steps=max(1, min(recipe.warmup_steps, steps // 10)),
        evaluate_every_steps=min(recipe.evaluate_every_steps, batches, steps),
    )


def with_classes(
    of: Architecture, model: nn.Module, before: Sequence[str], after: Sequence[str]
) -> nn.Module:
    """The model with another head; of classes that both know it keeps what it has learnt."""
    config: Any = model.config
    changed = of.build(replace(config, classes=len(after)))
    state, head = model.state_dict(), changed.get_submodule("head").state_dict()
    kept = [(number, before.index(name)) for number, name in enumerate(after) if name in before]
    for kind, tensor in head.items():
        for ours, theirs in kept:
            tensor[ours] = state[f"head.{kind}"][theirs]
        state[f"head.{kind}"] = tensor
    changed.load_state_dict(state)
    return changed


def labels_of(survey: Survey[Any], known: Sequence[str]) -> Sequence[str]:
    """The classes of the result: those of the data, unless the model knows all of them."""
    return known if set(survey.labels) <= set(known) else survey.labels


def fine_tune(
    start: Start,
    recipe: Recipe,
    data: Path,
    run_dir: Path,
    *,
    console: Console,
    steps: int | None = None,
    resume: bool = False,
    stop_after_steps: int | None = None,
) -> dict[str, float]:
    """Look at the data, say what is in it, and train; returns the metrics of the best weights.

    Raises `BadData` with everything that is wrong with the data before anything is written, and
    `BadCheckpoint` where a run is to go on that began otherwise.
    """
    task, model = start.task, start.model
    folder = start.assets[0].parent
    found = own.surveyed(data, task, task.load_assets(folder), seed=recipe.seed)
    found.show(console)
    found.sound()
    assets = run_dir / "assets"
    if not resume:
        shutil.rmtree(assets, ignore_errors=True)
    assets.mkdir(parents=True, exist_ok=True)
    for path in start.assets:
        shutil.copy(path, assets)
    torch.manual_seed(recipe.seed)
    if found.labels:
        known = list(task.load_assets(folder).labels)
        labels = labels_of(found, known)
        if labels != known:
            model = with_classes(start.architecture, model, known, labels)
            write_labels(run_dir, labels)
            console.print(f"a head for {len(labels)} classes replaces that for {len(known)}")
    loaded, of = task.load_assets(assets), own.reader(task)
    batch = int(recipe.data["batch"])
    train, dev = (
        of.dataset(
            found.splits[split], task, loaded, batch=batch, seed=recipe.seed, training=training
        )
        for split, training in (("train", True), ("dev", False))
    )
    recipe = replace(recipe, base=start.name, data={**recipe.data, "sha256": found.sha256})
    recipe = fitted(recipe, len(train), steps=steps)
    if resume:
        _same(run_dir, recipe)
    lineage(start, found).write(run_dir)
    return fit(
        start.architecture,
        recipe,
        model.requires_grad_(True),
        (train, dev),
        run_dir=run_dir,
        resume=resume,
        stop_after_steps=stop_after_steps,
    )


def _same(run_dir: Path, recipe: Recipe) -> None:
    """Raises `BadCheckpoint` unless a run folder holds a run of this recipe."""
    said: Mapping[str, Any] = checkpoint.read(run_dir)["recipe"]
    other = [
        f"{name} was {said.get(name)!r}, and is {value!r}"
        for name, value in vars(recipe).items()
        if said.get(name) != value
    ]
    if other:
        raise BadCheckpoint(
            f"{run_dir} began otherwise, so it cannot go on: {'; '.join(other)}; "
            "leave --resume out to begin anew"
        )


def lineage(start: Start, found: Survey[Any]) -> Lineage:
    fine_tuned = FineTuned(
        base=start.name, data=found.path.name, data_sha256=found.sha256, items=found.counts
    )
    return Lineage(
        task=start.task.name, data=start.data, imported=start.imported, fine_tuned=fine_tuned
    )
