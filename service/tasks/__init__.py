"""Tasks, one file each; the file's name is its route, its metric label and its model's name.

A request passes `preprocess` (request → items), `forward` (a batch of items of many requests →
rows, in the model's thread) and `postprocess` (the request's rows → response).

A task whose model generates tokens has names besides, by which its items join and leave a decoding
batch one by one instead of passing `forward` together.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from service.contract import Graph
from service.schema import RequestModel, ResponseModel

if TYPE_CHECKING:
    from service.decoder import Encode, Way

Item = dict[str, NDArray[Any]]
"""One row of a batch: input name → array without the batch axis."""
Row = dict[str, NDArray[Any]]
"""What the model made of one item: output name → array without the batch axis."""

REQUIRED = (
    "RPC", "Request", "Response", "CONTRACT", "MAX_BATCH_COST", "load_assets",
    "preprocess", "forward", "postprocess", "cost", "example", "EXPECTED",
)  # fmt: skip


GENERATION = (
    "encode", "generate", "rows", "MAX_ROWS", "MAX_LEN", "MAX_ENCODE_COST", "BESIDE", "continued",
    "texts",
)  # fmt: skip


@dataclass(frozen=True)
class Generation:
    """The names that a file defines besides, if its model generates tokens."""

    encode: "Encode"
    generate: Callable[[Item, Any], "Way"]
    """An item and the assets → what to search for, one search after another, and then its row.

    The row's `tokens` are what those who watch see last.
    """
    rows: Callable[[Item], int]
    """Rows of the decoding batch that an item takes."""
    max_rows: int
    max_len: int
    """Tokens of the longest row, the prompt's too."""
    max_encode_cost: int
    """So much may be encoded together: nothing joins before all of it is done."""
    beside: bool
    """Whether the encoder runs beside the steps, each with half of the cores, or steps wait for it.

    A small encoder and small steps gain little from a second core; a large encoder does, and the
    rows that it would let join one by one make many steps of few.
    """
    continued: Callable[[str, Item, Sequence[int], Any], str]
    """What was said before an item, the item, its tokens so far, assets → the text so far.

    Where an answer holds several texts, items have the `index` of theirs.
    """
    texts: Callable[[Any], Sequence[str]]
    """A response → its texts, of which `continued` gave the beginnings."""


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
    generation: Generation | None = None
    live: type[BaseModel] | None = None
    """What it tells of speech while that is spoken, if it hears any."""
    adapt: Callable[[Any, Any], RequestModel] | None = None
    """The example, assets → what such a model can be asked; where not every one knows the same."""


def task_names() -> list[str]:
    return sorted(path.stem for path in Path(__file__).parent.glob("[a-z]*.py"))


def task(name: str) -> Task:
    """Import one task by file or route name; a file that lacks names fails, listing them all."""
    module = import_module(f"service.tasks.{name.replace('-', '_')}")
    generates = hasattr(module, "generate")
    required = (*REQUIRED, *(GENERATION if generates else ()))
    missing = [name for name in required if not hasattr(module, name)]
    if missing:
        raise AttributeError(f"{module.__name__} lacks {', '.join(missing)}")
    made = Task(
        name.replace("_", "-"),
        (module.__doc__ or "").splitlines()[0],
        *(getattr(module, name) for name in REQUIRED),
    )
    found = Generation(*(getattr(module, name) for name in GENERATION)) if generates else None
    return replace(
        made,
        generation=found,
        live=getattr(module, "LIVE", None),
        adapt=getattr(module, "adapt", None),
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
