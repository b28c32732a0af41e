"""CIFAR-10 in shares → accuracy of a vision transformer and of a convolutional network of its size.

Both have as many parameters, the same pictures in the same order, augmentation, optimizer and
number of steps; only the share of the training set changes.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from models.catalogue import recipes
from models.datasets import cifar10
from models.plot import plot_lines
from models.sizes import operations, parameters
from models.studies import table as markdown
from models.studies import trained
from models.train import evaluate

RECIPES = {"vision transformer": "cifar10-patches", "ResNet": "cifar10-resnet"}
SHARES = (0.1, 0.3, 1.0)


def study(data_dir: Path, runs: Path) -> Mapping[str, Any]:
    """A run for each model and share, and what each reaches on the test split."""
    return {"runs": [row for share in SHARES for row in of_share(share, data_dir, runs)]}


def of_share(share: float, data_dir: Path, runs: Path) -> Iterator[dict[str, Any]]:
    """Both models on so much of the training set."""
    known = recipes()
    loaded: dict[str, cifar10.Cifar10] = {}
    for name, recipe_name in RECIPES.items():
        of, whole = known[recipe_name]
        recipe = replace(whole, data={**whole.data, "share": share})
        run_dir = runs / f"{recipe_name}-{round(100 * share)}"
        load = partial(cifar10.load, data_dir, seed=recipe.seed, options=recipe.data)
        for split in ("train", "dev"):
            loaded[split] = loaded.get(split) or load(split, run_dir=runs)
        test = load("test", run_dir=run_dir)
        torch.manual_seed(recipe.seed)
        splits = loaded["train"], loaded["dev"]
        model = trained(of, recipe, of.presets[recipe.preset], splits, run_dir)
        picture = torch.zeros(1, 3, model.config.side, model.config.side)
        yield {
            "model": name,
            "parameters": parameters(model),
            "mega_operations": round(operations(model, picture) / 1e6, 1),
            "pictures": len(loaded["train"].images),
            "share": share,
            "steps": recipe.steps,
            "passes": round(recipe.steps / len(loaded["train"]), 1),
            "accuracy": round(100 * evaluate(of, model, test, recipe)["dev_accuracy"], 1),
        }


def table(figures: Mapping[str, Any]) -> list[str]:
    """A row for each model, a column for each share."""
    found = {(run["model"], run["share"]): run for run in figures["runs"]}
    rows = []
    for name in RECIPES:
        of = found[name, 1.0]
        accuracies = [f"{found[name, share]['accuracy']:.1f}" for share in SHARES]
        rows.append((name, f"{of['parameters']:,}", of["mega_operations"], *accuracies))
    pictures = [f"{found['ResNet', share]['pictures']:,} pictures" for share in SHARES]
    return markdown(["model", "parameters", "operations a picture, millions", *pictures], rows)


def draw(figures: Mapping[str, Any], picture: Path) -> None:
    lines = {
        name: [(r["pictures"], r["accuracy"]) for r in figures["runs"] if r["model"] == name]
        for name in RECIPES
    }
    plot_lines(lines, picture, x="pictures in training", y="test accuracy, %", log=True)
