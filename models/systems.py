"""docs/systems/NAME.json ↔ what is known of one system: the record that the comparison is made of.

Each part is written by the command that finds it, which is kept beside it: size, training and
quality by `python -m models record`, serving by `python -m loadtests.system`.
"""

from pathlib import Path

from pydantic import BaseModel, ConfigDict

FOLDER = Path("docs/systems")


class Part(BaseModel):
    """Base of all that a record holds."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Size(Part):
    """How large the model is, and how much it computes."""

    parameters: int
    flops: int
    """Of answering the task's example; a multiplication and an addition are two."""
    file_bytes: int
    """Of the model folder, without the weights that set-up fetches."""
    command: str


class Training(Part):
    """What it took to train; of parts that were not kept there is None."""

    steps: int
    core_s: float | None
    """Seconds of all cores together."""
    data: str
    command: str


class Quality(Part):
    """One figure of the task's metric."""

    metric: str
    data: str
    group: str
    """Part of the data: a direction, a split."""
    value: float
    higher_is_better: bool
    command: str


class Serving(Part):
    """What the service does with it on one machine."""

    p50_ms: float
    p90_ms: float
    """Of one caller who waits for each answer."""
    per_s: float
    """Answers to `users` callers who wait for each."""
    users: int
    door: str
    machine: str
    version: str
    command: str


class System(Part):
    """A model of a task, and what was measured of it."""

    name: str
    task: str
    architecture: str
    version: str
    size: Size | None = None
    training: Training | None = None
    quality: list[Quality] = []
    serving: Serving | None = None


def path_of(name: str, folder: Path = FOLDER) -> Path:
    return folder / f"{name}.json"


def read(path: Path) -> System:
    """Raises OSError, or pydantic's ValidationError for a file that is none."""
    return System.model_validate_json(path.read_text(encoding="utf-8"))


def every(folder: Path = FOLDER) -> list[System]:
    """All records, by task and name."""
    return sorted(map(read, folder.glob("*.json")), key=lambda each: (each.task, each.name))


def write(system: System, folder: Path = FOLDER) -> Path:
    """Write what is new of a system; the parts that it lacks stay as they were recorded."""
    path = path_of(system.name, folder)
    if path.exists():
        given = {name: getattr(system, name) for name in system.model_fields_set}
        system = read(path).model_copy(update=given)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(system.model_dump_json(indent=1) + "\n", encoding="utf-8")
    return path
