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
    """The task as models with these graphs do it; those for few requests only if they are there."""
    for kind in kinds():
        needed = {name for name, graph in kind.CONTRACT.items() if not graph.aside}
        if task.name == kind.TASK and needed <= set(graphs) <= set(kind.CONTRACT):
            names = {name: name.upper() for name in ("contract", "max_batch_cost")}
            changed = {name: getattr(kind, names.get(name, name)) for name in REPLACED}
            task = replace(task, generation=None, **changed)
    contract = {
        name: graph for name, graph in task.contract.items() if not graph.aside or name in graphs
    }
    return replace(task, contract=contract)
