"""where a model attended → maps over named axes, in the answers to requests with `explain`.

A model can tell by a graph of its own, the one that the task's CONTRACT has `aside`; those that
answer stay as they are. `Loaded` refuses what cannot be explained and marks the items of what is to
be; a task runs that graph for the items that are marked, and draws what it gives with `drawn`.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from service.contract import Graph
from service.errors import InvalidInput

GRAPH = "attention"
GRAPHS = (GRAPH, "alignment")
"""Its usual name, and Whisper's."""
MARK = "explain"
"""The field of a request, and what an item has that is to be explained."""
MAX_ITEMS = 16
MAX_WEIGHTS = 400_000
"""In an answer: 3.2 MB over gRPC, whose clients take 4 MiB unless told otherwise."""
DECIMALS = 5

Item = dict[str, NDArray[Any]]


class Axis(BaseModel):
    """One axis of a map, and what its places are."""

    name: str
    size: int
    labels: list[str] = Field(default=[], description="The text of the token at each place.")
    begins_s: list[float] = Field(
        default=[], description="When each place begins, in seconds of the recording."
    )


class AttentionMap(BaseModel):
    """Attention weights over axes, of which the last varies fastest."""

    name: str = Field(description="What they are; the page on attention says it for each task.")
    index: int = Field(
        default=0, description="Which text or picture of the answer; 0 where there is one."
    )
    axes: list[Axis]
    weights: list[float]


@dataclass(frozen=True, eq=False)
class Weights:
    """A map before it is written down."""

    name: str
    weights: NDArray[np.floating[Any]]
    axes: Sequence[str | Axis]
    """A name alone where the places are just numbered."""
    index: int = 0


def check(contract: Mapping[str, Graph]) -> None:
    """Raises InvalidInput where a model, which has these graphs, cannot tell."""
    if not any(name in contract for name in GRAPHS):
        raise InvalidInput(
            "this model was exported without the graph that tells where it attends", MARK
        )


def marked(items: Sequence[Item]) -> list[Item]:
    """The items of a request that is to be explained; raises InvalidInput on too many."""
    if len(items) > MAX_ITEMS:
        raise InvalidInput(
            f"at most {MAX_ITEMS} sentences, pieces or windows can be explained at once, "
            f"and these are {len(items)}",
            MARK,
        )
    return [{**item, MARK: np.array(True)} for item in items]


def either(
    items: Sequence[Item], graph: str, run: Callable[[str, Sequence[Item]], list[Item]]
) -> list[Item]:
    """The rows of all items: those that are marked from the graph that explains, the others from
    the one that is named."""
    rows: dict[int, Item] = {}
    for name, wanted in ((graph, False), (GRAPH, True)):
        chosen = [index for index, item in enumerate(items) if (MARK in item) == wanted]
        if chosen:
            found = run(name, [items[index] for index in chosen])
            rows |= zip(chosen, found, strict=True)
    return [rows[index] for index in range(len(items))]


def over_time(row: Item, *, begin_s: float, duration_s: float, index: int = 0) -> Iterator[Weights]:
    """How much of each place in time is in the answer, by all layers and by each head; nothing for
    the row of a graph that does not tell.

    The places are equal parts of what the model heard.
    """
    if "rollout" not in row:
        return
    places = len(row["rollout"])
    begins_s = (begin_s + duration_s / places * np.arange(places)).round(4).tolist()
    time = Axis(name="time", size=places, begins_s=begins_s)
    yield Weights("rollout", row["rollout"], [time], index)
    yield Weights("heads", row["heads"], ["layer", "head", time], index)


def drawn(maps: Iterable[Weights]) -> list[AttentionMap]:
    """The maps of an answer; raises InvalidInput where they hold too much."""
    maps = list(maps)
    size = sum(each.weights.size for each in maps)
    if size > MAX_WEIGHTS:
        raise InvalidInput(
            f"the answer would hold {size} weights, of at most {MAX_WEIGHTS}: ask for less at once",
            MARK,
        )
    return [
        AttentionMap(
            name=each.name,
            index=each.index,
            axes=[
                Axis(name=axis, size=size) if isinstance(axis, str) else axis
                for axis, size in zip(each.axes, each.weights.shape, strict=True)
            ],
            weights=np.round(each.weights.astype(np.float64), DECIMALS).ravel().tolist(),
        )
        for each in maps
    ]
