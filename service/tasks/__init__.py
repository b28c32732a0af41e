"""Tasks, one file each; the file's name is its route, its metric label and its model's name.

A request passes `preprocess` (request → items), `forward` (a batch of items of many requests →
rows, in the model's thread) and `postprocess` (the request's rows → response).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.contract import Graph
from service.schema import RequestModel, ResponseModel

Item = dict[str, NDArray[Any]]
"""One row of a batch: input name → array without the batch axis."""
Row = dict[str, NDArray[Any]]
"""What the model made of one item: output name → array without the batch axis."""

REQUIRED = (
    "RPC", "Request", "Response", "CONTRACT", "MAX_BATCH_COST", "load_assets",
    "preprocess", "forward", "postprocess", "cost", "example", "EXPECTED",
)  # fmt: skip


@dataclass(frozen=True)
class Task:
    """The names that every file of this folder defines."""

    name: str
    summary: str
    rpc: str
    """Name of the gRPC method."""
    request: type[RequestModel]
    response: type[ResponseModel]
    contract: Mapping[str, Graph]
    max_batch_cost: int
    """A batch takes items until their costs add up to this."""
    load_assets: Callable[[Path], Any]
    preprocess: Callable[[Any, Any], list[Item]]
    forward: Callable[[Any, Any, Sequence[Item]], list[Row]]
    postprocess: Callable[[Any, Any, Sequence[Item], Sequence[Row]], ResponseModel]
    cost: Callable[[Item], int]
    example: Callable[[], RequestModel]
    expected: str
    """What the answer to the example contains; load tests count anything else as a failure."""


def task_names() -> list[str]:
    return sorted(path.stem for path in Path(__file__).parent.glob("[a-z]*.py"))


def task(name: str) -> Task:
    """Import one task by file or route name; a file that lacks names fails, listing them all."""
    module = import_module(f"service.tasks.{name.replace('-', '_')}")
    missing = [required for required in REQUIRED if not hasattr(module, required)]
    if missing:
        raise AttributeError(f"{module.__name__} lacks {', '.join(missing)}")
    return Task(
        name.replace("_", "-"),
        (module.__doc__ or "").splitlines()[0],
        *(getattr(module, required) for required in REQUIRED),
    )


def tasks() -> list[Task]:
    return [task(name) for name in task_names()]


def stack(items: Sequence[Item], name: str, *, fill: float = 0) -> NDArray[Any]:
    """One input of all items as a batch, padded at the end of the first axis to the longest."""
    arrays = [item[name] for item in items]
    longest = max((array.shape[:1] or (0,))[0] for array in arrays)
    if all(array.ndim == 0 or array.shape[0] == longest for array in arrays):
        return np.stack(arrays)
    batch = np.full((len(arrays), longest, *arrays[0].shape[1:]), fill, arrays[0].dtype)
    for row, array in zip(batch, arrays, strict=True):
        row[: len(array)] = array
    return batch
