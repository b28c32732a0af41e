"""Molecules and neurons become the graphs that a client would send."""

from pathlib import Path

import numpy as np
import pytest
import torch

from models.datasets import mushroom_body, solubility
from models.score import IGNORE

NITROMETHANE = """nitromethane
     RDKit          2D

  4  3  0  0  0  0  0  0  0  0999 V2000
    0.0000    0.0000    0.0000 C   0  0  0  0  0  0  0  0  0  0  0  0
    1.2990    0.7500    0.0000 N   0  0  0  0  0  4  0  0  0  0  0  0
    2.5981   -0.0000    0.0000 O   0  0  0  0  0  0  0  0  0  0  0  0
    1.2990    2.2500    0.0000 O   0  0  0  0  0  1  0  0  0  0  0  0
  1  2  1  0
  2  3  2  0
  2  4  1  0
M  CHG  2   2   1   4  -1
M  END
>  <SOL_classification>  (7)
(C) high

"""


def test_a_molecule_has_its_atoms_bonds_and_charges() -> None:
    found = solubility.molecule(NITROMETHANE)
    assert found.label == "high"
    assert [node.features for node in found.graph.nodes] == [
        ["C"], ["N", "double", "positive"], ["O", "double"], ["O", "negative"],
    ]  # fmt: skip
    edges = [(edge.source, edge.target) for edge in found.graph.edges]
    assert edges == [(0, 1), (1, 2), (1, 3)]


@pytest.fixture
def molecules(tmp_path: Path) -> Path:
    folder = tmp_path / "solubility"
    folder.mkdir()
    for part, count in (("train", 40), ("test", 3)):
        text = f"{NITROMETHANE}$$$$\n" * count
        (folder / f"solubility.{part}.sdf").write_text(text)
    return tmp_path


def test_a_batch_of_molecules_is_what_the_model_takes(molecules: Path) -> None:
    options = {"batch_size": 3}
    test = solubility.load(molecules, "test", run_dir=molecules, seed=1, options=options)
    batch = test.batch(0)
    # five features that any atom has, and two degrees
    names = ["C", "N", "O", "double", "negative", "positive"]
    assert batch["features"].shape == (3, 4, len(names) + 2)
    assert batch["lengths"].tolist() == [4, 4, 4]
    assert batch["labels"].tolist() == [2, 2, 2]
    splits = [len(solubility.read(molecules, split)) for split in ("train", "dev", "test")]
    assert sum(splits[:2]) == 40
    assert all(splits)


@pytest.fixture
def brain(tmp_path: Path) -> Path:
    folder = tmp_path / "mushroom-body"
    folder.mkdir()
    synapses = np.random.default_rng(1).integers(0, 3, (30, 30))
    for side in ("left", "right"):
        np.savetxt(folder / f"{side}_adjacency.csv", synapses, fmt="%d")
        (folder / f"{side}_cell_labels.csv").write_text("\n".join("KKPOI" * 6))
    return tmp_path


def neurons(brain: Path, split: str) -> mushroom_body.Neurons:
    options = {"batch_size": 2, "kept_share": 0.5}
    return mushroom_body.load(brain, split, run_dir=brain, seed=1, options=options)


def test_training_is_not_told_the_types_that_dev_asks_for(brain: Path) -> None:
    train, dev = neurons(brain, "train"), neurons(brain, "dev")
    assert ((train.labels == IGNORE) ^ (dev.labels == IGNORE)).all()
    batch = dev.batch(0)
    assert batch["features"].shape == (1, 30, 2)
    assert batch["neighbours"].shape == (1, 30, 30)


def test_training_sees_another_part_of_the_brain_each_time(brain: Path) -> None:
    train = neurons(brain, "train")
    first, second = train.batch(0), train.batch(1)
    assert first["features"].shape[0] == 2
    assert first["features"].shape[1] < 30
    assert first["labels"].shape == first["features"].shape[:2]
    assert not torch.equal(first["features"], second["features"])
    assert torch.equal(first["features"], train.batch(0)["features"])


def test_one_request_asks_for_all_neurons(brain: Path) -> None:
    (example,) = mushroom_body.examples(brain, "test")
    graph = example.request.model_dump()["graph"]
    assert len(graph["nodes"]) == len(example.references) == 30
    assert example.references[:5] == [
        "Kenyon cell", "Kenyon cell", "projection neuron", "output neuron", "input neuron",
    ]  # fmt: skip
