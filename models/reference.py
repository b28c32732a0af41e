"""torch graphs → a Runner: the trained module behind the very tasks that serve its export."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from models.graph import Graph
from service.contract import Arrays
from service.contract import Tensor as Described


class Reference:
    """The graphs of a trained module, run by torch."""

    def __init__(self, graphs: Sequence[Graph]) -> None:
        self.graphs = {graph.name: graph for graph in graphs}
        self.orders = {graph.name: list(graph.inputs(**graph.cases[0])) for graph in graphs}

    def _call(self, graph: Graph, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        with torch.inference_mode():
            out = graph.module(*(tensors[name] for name in self.orders[graph.name]))
        return dict(zip(graph.outputs, out if isinstance(out, tuple) else (out,), strict=True))

    def tensors(self, graph: str) -> dict[str, Described]:
        of = self.graphs[graph]
        inputs = of.inputs(**of.cases[0])
        tensors = inputs | self._call(of, inputs)
        return {
            name: Described(str(tensor.dtype).removeprefix("torch."), tuple(tensor.shape))
            for name, tensor in tensors.items()
        }

    def run(self, graph: str, inputs: Arrays) -> dict[str, NDArray[Any]]:
        tensors = {name: torch.from_numpy(array) for name, array in inputs.items()}
        outputs = self._call(self.graphs[graph], tensors)
        return {name: tensor.numpy() for name, tensor in outputs.items()}

    def bind(self, graph: str, inputs: Arrays, outputs: Arrays) -> Callable[[], None]:
        def run() -> None:
            results = self.run(graph, inputs)
            for name, array in outputs.items():
                array[...] = results[name]

        return run
