"""lineage.json of a run folder ↔ what a run began from and the data of one's own that it saw."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict

from service.manifest import Data, FineTuned, Imported

NAME = "lineage.json"


class Lineage(BaseModel):
    """What the manifest of the result says of its origin."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    task: str
    data: Data
    imported: Imported | None = None
    """The checkpoint that the first model was made from."""
    fine_tuned: FineTuned | None = None

    def write(self, run_dir: Path) -> None:
        (run_dir / NAME).write_text(self.model_dump_json(indent=1) + "\n", encoding="utf-8")


def read(run_dir: Path) -> Lineage | None:
    """None for a run of a recipe on its own data set."""
    path = run_dir / NAME
    return Lineage.model_validate_json(path.read_text(encoding="utf-8")) if path.exists() else None
