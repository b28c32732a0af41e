"""a model that is one graph → its tensors as they are: batched with what its task asks of it.

The graphs of tasks that generate tokens are not reachable: they take positions within caches that
other graphs gave them, and a wrong one would read or write beside a cache.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.compat.oip.tensors import DATATYPES, Spec
from service.contract import Tensor
from service.engine import Engine
from service.errors import InvalidInput
from service.loaded import Loaded
from service.tasks import Item, Task

SUFFIX = ".model"
GRAPH = "model"
MAX_ROWS = 1_024


def reachable(task: Task) -> bool:
    return {name for name, graph in task.contract.items() if not graph.aside} == {GRAPH}


def _spec(name: str, tensor: Tensor) -> Spec:
    shape = tuple(size if isinstance(size, int) else -1 for size in tensor.axes)
    return Spec(name, DATATYPES[np.dtype(tensor.dtype)], shape)


class RawModel:
    """The graph of a task: `pixels` in, `logits` out, for as many rows as are sent."""

    platform = "onnx_onnxv1"
    max_batch = MAX_ROWS

    def __init__(self, name: str, loaded: Loaded) -> None:
        self.name, self.task = name, loaded.task.name
        graph, found = loaded.task.contract[GRAPH], loaded.model.tensors(GRAPH)
        self.inputs: Sequence[Spec] = [_spec(name, found[name]) for name in graph.inputs]
        self.labels: Sequence[str] = getattr(loaded.assets, "labels", ())
        self.outputs: Sequence[Spec] = [_spec(name, found[name]) for name in graph.outputs]

    async def infer(
        self,
        engine: Engine,
        tag: str,
        inputs: Mapping[str, NDArray[Any]],
        parameters: Mapping[str, Any],
        asked: Mapping[str, Any],
    ) -> tuple[dict[str, NDArray[Any]], str]:
        """Outputs by name, and the name of the model that gave them."""
        for name in parameters:
            raise InvalidInput("there is no such parameter", f"parameters.{name}")
        sizes = {len(array) for array in inputs.values()}
        rows = sizes.pop()
        if sizes or rows > MAX_ROWS:
            raise InvalidInput(f"a batch has up to {MAX_ROWS} rows, as many in each input")
        items: list[Item] = [{name: inputs[name][row] for name in inputs} for row in range(rows)]
        given, name, _ = await engine.rows(engine.find(self.task, tag), items, **asked)
        outputs = (output.name for output in self.outputs)
        return {name: np.stack([row[name] for row in given]) for name in outputs}, name
