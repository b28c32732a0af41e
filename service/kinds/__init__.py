"""Other kinds of model for a task, one file each: what they do in another way than the task's own.

A file names its `TASK` and defines what it replaces; its graphs tell it apart. Such models answer a
request in one run: they generate no tokens.
"""

from collections.abc import Collection
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from types import ModuleType

from service.tasks import Task

REPLACED = (
    "contract", "max_batch_cost", "load_assets", "preprocess", "forward", "postprocess", "cost",
)  # fmt: skip


def kinds() -> list[ModuleType]:
    files = sorted(Path(__file__).parent.glob("[a-z]*.py"))
    return [import_module(f"service.kinds.{path.stem}") for path in files]


def task_of(task: Task, graphs: Collection[str]) -> Task:
    """The task as models with these graphs do it; as it is where no kind has them."""
    for kind in kinds():
        if task.name == kind.TASK and set(kind.CONTRACT) == set(graphs):
            names = {name: name.upper() for name in ("contract", "max_batch_cost")}
            changed = {name: getattr(kind, names.get(name, name)) for name in REPLACED}
            return replace(task, generation=None, **changed)
    return task
