"""contents of requests → answers from a shipped model: all but the server, the same for each peer.

A server of its own file reads a request, has batches made of those that came together, and writes
the answers. The graphs, what comes before and after them, and the threads are the same everywhere.
"""

import base64
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loadtests.serving.peers import greedy
from service import manifest as manifests
from service.manifest import SHIPPED, WEIGHTS
from service.session import Model, open_graph, read_weights
from service.tasks import Item, task

MAX_BATCH = 64
WINDOW_S = 0.01
"""How long a batch may wait for company, where a server wants to be told."""
JSON_TASK = "translation"
"""Its requests are JSON; those of the others are a picture or a recording."""

OWN = {"model", "timings_ms"}
"""What Attendant says besides of itself."""


@dataclass(frozen=True)
class Asked:
    """A request that has been read."""

    request: Any
    items: list[Item]


def opened(name: str, *, threads: int) -> Model:
    """The graphs of a shipped model, as its manifest has them."""
    folder = SHIPPED / name
    manifest, weights = manifests.read(folder), read_weights(folder / WEIGHTS)
    sessions = {
        graph: open_graph(folder, entry, weights, threads=threads)
        for graph, entry in manifest.graphs.items()
    }
    few = {
        graph: (entry.rows, open_graph(folder, entry, weights, threads=threads))
        for graph, entry in manifest.few.items()
    }
    return Model(name, sessions, few)


def _single(array: NDArray[Any]) -> NDArray[Any]:
    """Graphs take float32; numpy before 2, which PyTriton wants, makes float64 of some sums."""
    return array.astype(np.float32) if array.dtype == np.float64 else array


class Served:
    """A shipped model with what comes before and after it."""

    def __init__(self, name: str, *, threads: int) -> None:
        self.task = task(name)
        self.assets = self.task.load_assets(SHIPPED / name)
        self.model = opened(name, threads=threads)

    def read(self, content: bytes) -> Asked:
        """Raises the service's own errors for what is no request."""
        if self.task.name == JSON_TASK:
            request = self.task.request.model_validate_json(content)
        else:
            fields = self.task.request.model_fields.items()
            binary = next(name for name, field in fields if field.is_required())
            request = self.task.request.model_validate({binary: content})
        items = self.task.preprocess(request, self.assets)
        return Asked(
            request, [{key: _single(value) for key, value in each.items()} for each in items]
        )

    def read_text(self, text: str) -> Asked:
        """The same where a server takes text only: pictures and recordings in base64."""
        return self.read(text.encode() if self.task.name == JSON_TASK else base64.b64decode(text))

    def answer(self, batch: Sequence[Asked]) -> list[dict[str, Any]]:
        """One run for all of them; an answer each, in their order."""
        items = [item for asked in batch for item in asked.items]
        forward = greedy.forward if self.task.generation else self.task.forward
        rows = iter(forward(self.model, self.assets, items))
        return [
            self.task.postprocess(
                asked.request, self.assets, asked.items, [next(rows) for _ in asked.items]
            ).model_dump(exclude=OWN)
            for asked in batch
        ]


def told() -> Namespace:
    """What every server is started with."""
    parser = ArgumentParser()
    parser.add_argument("--task", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args()
