"""the two mushroom bodies of a fly larva's brain → batches of their neurons, each of some type.

A neuron is a node of which nothing is known but its synapses. The left half is learned from, the
right one, which no training sees, is the test. The files are those of the folder
`datasets/drosophila` in the package graspologic; `mushroom-body` of the data folder is a copy of
it, or a link to it.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Int
from numpy import ndarray

from models.datasets import Batch, Example
from models.datasets._graphs import batch_of, write_assets
from models.recipe import SEED
from models.score import IGNORE
from service import graphs
from service.tasks.node_classification import Request

SOURCE = (
    "Eichler et al. 2017, The complete connectome of a learning and memory centre in an insect "
    "brain, as the package graspologic 3.4.4 has it"
)
LICENCE = "MIT (the package)"
FOLDER = "mushroom-body"
TYPES = {"K": "Kenyon cell", "P": "projection neuron", "O": "output neuron", "I": "input neuron"}
DEV_SHARE = 0.2
"""Of the left half's neurons, those whose types training is not told."""


def read(data_dir: Path, side: str) -> tuple[Bool[ndarray, "nodes nodes"], list[str]]:
    """Of the `left` or `right` half: row → column where there are synapses, and every type."""
    folder = data_dir / FOLDER
    synapses = np.loadtxt(folder / f"{side}_adjacency.csv", dtype=np.int64)
    types = (folder / f"{side}_cell_labels.csv").read_text(encoding="utf-8").split()
    return synapses > 0, [TYPES[each] for each in types]


class Neurons:
    """The left half; in training as many parts of it as a batch has graphs, each another one."""

    def __init__(
        self,
        links: Bool[ndarray, "nodes nodes"],
        labels: Int[ndarray, " nodes"],
        *,
        batch_size: int,
        kept_share: float,
        seed: int,
    ) -> None:
        self.links, self.labels = links, labels
        self.batch_size, self.kept_share, self.seed = batch_size, kept_share, seed

    def __len__(self) -> int:
        return 1

    def batch(self, step: int) -> Batch:
        rng = np.random.default_rng((self.seed, step))
        kept = rng.random((self.batch_size, len(self.labels))) < self.kept_share
        items = [
            graphs.arrays(np.zeros((rows.sum(), 0), np.float32), self.links[rows][:, rows])
            for rows in kept
        ]
        labels = np.full((self.batch_size, kept.sum(1).max()), IGNORE)
        for row, rows in zip(labels, kept, strict=True):
            row[: rows.sum()] = self.labels[rows]
        return batch_of(items, torch.from_numpy(labels), whole=False)


def load(
    data_dir: Path,
    split: str,
    *,
    run_dir: Path,
    seed: int,
    options: Mapping[str, float | int | str],
) -> Neurons:
    """`train` and `dev` share the left half's graph and have each some of its types.

    `batch_size` graphs, each with `kept_share` of the neurons; dev has one, with all of them.
    """
    links, types = read(data_dir, "left")
    names = list(TYPES.values())
    write_assets(run_dir, names, [])
    hidden = np.random.default_rng(SEED).random(len(types)) < DEV_SHARE
    told = hidden if split == "dev" else ~hidden
    labels = np.where(told, [names.index(each) for each in types], IGNORE)
    training = split == "train"
    return Neurons(
        links,
        labels,
        batch_size=int(options["batch_size"]) if training else 1,
        kept_share=float(options["kept_share"]) if training else 1.0,
        seed=seed,
    )


def examples(data_dir: Path, split: str) -> Iterator[Example]:
    """One request: the right half, or for dev the left one, every neuron of it."""
    links, types = read(data_dir, {"dev": "left", "test": "right"}[split])
    edges = [graphs.Edge(source=int(a), target=int(b)) for a, b in np.argwhere(links)]
    nodes = [graphs.Node() for _ in types]
    yield Example(split, Request(graph=graphs.Graph(nodes=nodes, edges=edges)), types)
