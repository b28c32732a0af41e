"""budgets.toml → what each task has to keep; whatever is misspelt is named."""

import tomllib
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from service.tasks import tasks

FILE = Path(__file__).with_name("budgets.toml")

Time = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]
Rate = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class BudgetError(Exception):
    """The file is not what it should be; the message names every place."""


class Table(BaseModel):
    """A table of the file: nothing unknown, nothing coerced."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Mix(Table):
    """What all tasks together have to keep."""

    errors: Share | None = None
    """Of the requests, those that may end without a right answer."""
    requests_per_s: Rate | None = None
    """Right answers at least, or the highest rate that a search finds."""


class Budget(Mix):
    """What one task has to keep on each door; what is left out is not judged."""

    bound_ms: Time | None = None
    """What users are promised: the bound of a search, and of a comparison with other servers."""
    p50_ms: Time | None = None
    p95_ms: Time | None = None
    p99_ms: Time | None = None
    first_token_p95_ms: Time | None = None
    """Until the first text of a streamed answer."""


class Baseline(Table):
    """How a result is held against an older one."""

    tolerance: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """By how much a figure may be worse."""


class Budgets(Table):
    """The file."""

    baseline: Baseline = Baseline()
    tasks: dict[str, Budget] = {}
    mix: Mix = Mix()

    def of(self, task: str) -> Budget:
        """The task's budget; an empty one where the file has none."""
        return self.tasks.get(task, Budget())


def _known(place: tuple[Any, ...], names: Iterable[str]) -> list[str]:
    """What may stand where something unknown was found."""
    match place:
        case ("tasks",):
            return list(names)
        case ("tasks", _):
            return list(Budget.model_fields)
        case ("mix",):
            return list(Mix.model_fields)
        case ("baseline",):
            return list(Baseline.model_fields)
        case _:
            return list(Budgets.model_fields)


def _unknown(place: tuple[Any, ...], key: str, names: Iterable[str]) -> str:
    known = _known(place, names)
    close = get_close_matches(key, known, n=1)
    hint = f"did you mean {close[0]}?" if close else f"known are {', '.join(known)}"
    return f"{'.'.join([*place, key])}: unknown; {hint}"


def read(path: Path = FILE) -> Budgets:
    """Raises BudgetError for a file that cannot be read, or that says something unknown."""
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BudgetError(f"{path}: {error}") from error
    names = [task.name for task in tasks()]
    faults: list[str] = []
    budgets = Budgets()
    try:
        budgets = Budgets.model_validate(content)
    except ValidationError as error:
        for each in error.errors(include_url=False):
            *place, key = map(str, each["loc"])
            if each["type"] == "extra_forbidden":
                faults.append(_unknown(tuple(place), key, names))
            else:
                said = f"{each['msg']}, not {each['input']!r}"
                faults.append(f"{'.'.join([*place, key])}: {said}")
    written = content.get("tasks")
    if isinstance(written, dict):
        faults += [_unknown(("tasks",), name, names) for name in written if name not in names]
    if faults:
        raise BudgetError("\n".join(f"{path}: {fault}" for fault in faults))
    return budgets
