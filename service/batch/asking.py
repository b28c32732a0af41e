"""columns of an item → the fields of the request that it stands for."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from service.batch.records import Columns, content_of
from service.errors import InvalidInput
from service.http_body import binary_field, typed
from service.schema import input_field
from service.tasks import Task


def content_field(task: Task) -> str:
    """The field of a request that is the item itself."""
    return binary_field(task) or input_field(task.request)


@dataclass(frozen=True)
class Asking:
    """Which column is which field of a request, and what is the same for all items."""

    task: Task
    columns: Mapping[str, str]
    fixed: Mapping[str, str]
    folder: Path
    """In which files that are named in a column are looked for."""
    values: Mapping[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        """Raises InvalidInput for a field that requests of the task do not have."""
        for name in (*self.columns, *self.fixed):
            if name not in self.task.request.model_fields:
                known = ", ".join(self.task.request.model_fields)
                raise InvalidInput(f"{self.task.name} has no such field; it has {known}", name)
        values = {name: typed(self.task, name, value) for name, value in self.fixed.items()}
        object.__setattr__(self, "values", values)

    def request(self, given: Columns) -> dict[str, Any]:
        """Values of the fields; raises a Problem that names the column."""
        own = content_field(self.task)
        found = dict(self.values)
        for name, column in {own: own, **self.columns}.items():
            if column not in given:
                raise InvalidInput(f"there is no such column; there are {', '.join(given)}", column)
            found[name] = given[column]
        if binary_field(self.task) == own:
            found[own] = self._bytes(found[own])
        return found

    def _bytes(self, value: Any) -> Any:
        """What a column holds, or the file that it names; also as data sets of Hugging Face do."""
        if isinstance(value, dict):
            value = value.get("bytes") or value.get("path")
        if not isinstance(value, str):
            return value
        path = (self.folder / value).resolve()
        if not path.is_relative_to(self.folder.resolve()):
            raise InvalidInput(f"{value} is not below the folder of the input")
        return content_of(path)
