"""A checkpoint that cannot be used says why, in a sentence that names a few tensors at most."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from export.source import from_run
from models import checkpoint
from models.catalogue import architecture
from models.checkpoint import BadCheckpoint


@pytest.fixture
def run(finished_run: Path, tmp_path: Path) -> Path:
    return shutil.copytree(finished_run, tmp_path / "run")


def change(run: Path, **fields: Any) -> None:
    state = torch.load(run / checkpoint.NAME, weights_only=True)
    torch.save({**state, **fields}, run / checkpoint.NAME)


def cut_off(run: Path) -> None:
    file = run / checkpoint.NAME
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def other_weights(run: Path) -> None:
    of = architecture("vit")
    change(run, model=of.build(of.presets["testing"]).state_dict())


def other_sizes(run: Path) -> None:
    state = torch.load(run / checkpoint.NAME, weights_only=True)
    change(run, config=state["config"] | {"hidden": 96})


BAD_CHECKPOINTS = {
    "cut off": (cut_off, "is damaged or cut off: copy it again"),
    "empty": (lambda run: (run / checkpoint.NAME).write_bytes(b""), "is damaged or cut off"),
    "missing": (lambda run: (run / checkpoint.NAME).unlink(), "is not there: train first"),
    "weights alone": (
        lambda run: torch.save({"model": {}}, run / checkpoint.NAME),
        "lacks architecture, config, recipe, step, optimizers: only what",
    ),
    "no dictionary": (lambda run: torch.save(torch.ones(2), run / checkpoint.NAME), "cut off"),
    "unknown architecture": (
        lambda run: change(run, architecture="rnn"),
        "is of architecture 'rnn', not one of detr, graph_attention",
    ),
    "other architecture": (
        lambda run: change(run, architecture="vit"),
        "does not have the sizes of a vit",
    ),
    "other weights": (other_weights, "does not hold a Transformer of these sizes"),
    "other sizes": (other_sizes, "has shape (64, 32), not (96, 32)"),
    "no metrics": (
        lambda run: (run / "metrics.csv").write_text("step,dev_loss,dev_accuracy\n"),
        "is empty: train until the first evaluation",
    ),
}


@pytest.mark.parametrize(("damage", "why"), BAD_CHECKPOINTS.values(), ids=BAD_CHECKPOINTS)
def test_a_checkpoint_that_cannot_be_used_says_why(
    damage: Callable[[Path], object], why: str, run: Path
) -> None:
    damage(run)
    with pytest.raises(BadCheckpoint) as caught:
        from_run(run)
    assert why in str(caught.value)
    assert str(run) in str(caught.value)


def test_of_many_tensors_that_differ_a_few_are_named(run: Path) -> None:
    other_weights(run)
    with pytest.raises(BadCheckpoint, match=r"sizes: (\S+ [^;]+; ){2}\S+ [^;]+ and \d+ more$"):
        from_run(run)
