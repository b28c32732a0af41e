"""graphs with labels → batches of a model's inputs, made by the code that reads requests."""

import json
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from models.datasets import Batch, write_labels
from service import graphs
from service.tasks import Item


def write_assets(run_dir: Path, labels: Sequence[str], features: Sequence[str]) -> graphs.Assets:
    """Keep the names of classes and features, in their order, for serving; and as it reads them."""
    write_labels(run_dir, labels)
    (run_dir / "assets" / "features.json").write_text(json.dumps(list(features)))
    return graphs.load_assets(run_dir / "assets")


def batch_of(items: Sequence[Item], labels: Tensor, *, whole: bool) -> Batch:
    """The inputs of a model of `whole` graphs, or of one of their nodes, and the labels."""
    names = ("features", "neighbours", "lengths") if whole else ("features", "neighbours")
    arrays = graphs.stacked(items)
    return {name: torch.from_numpy(arrays[name]) for name in names} | {"labels": labels}
