"""model and a way to answer samples → how large keys and values become, channel by channel."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.contract import Arrays, Tensor
from service.int8 import INT8_MAX
from service.session import Runner

MARGIN = 1.1
"""What is larger than any sample by more than this is cut off."""


class _Watched:
    """A runner that notes the largest key and value of every channel that pass through it."""

    def __init__(self, runner: Runner) -> None:
        self.runner = runner
        self.largest: dict[str, NDArray[np.float32]] = {}

    def _note(self, name: str, array: NDArray[Any]) -> None:
        seen = np.abs(array).max(axis=(0, 2))
        self.largest[name] = np.maximum(self.largest.get(name, seen), seen)

    def tensors(self, graph: str) -> dict[str, Tensor]:
        return self.runner.tensors(graph)

    def run(self, graph: str, inputs: Arrays) -> dict[str, NDArray[Any]]:
        outputs = self.runner.run(graph, inputs)
        for name, array in outputs.items():
            if name.startswith("cross_"):
                self._note(name, array)
        return outputs

    def bind(self, graph: str, inputs: Arrays, outputs: Arrays) -> Callable[[], None]:
        run = self.runner.bind(graph, inputs, outputs)
        presents = {name: array for name, array in outputs.items() if name.startswith("present_")}

        def noted() -> None:
            run()
            position = int(inputs["past_lengths"][0])
            for name, array in presents.items():
                here = array[:, :, position : position + 1]
                self._note(name.replace("present", "past", 1), here)

        return noted


def calibrate(model: Runner, answer: Callable[[Runner], object]) -> dict[str, NDArray[np.float32]]:
    """Have samples answered; returns a scale for int8 (heads, head_dim) of every key and value.

    Empty for a model that hands none from graph to graph.
    """
    watched = _Watched(model)
    answer(watched)
    tiny = np.finfo(np.float32).tiny
    return {
        name: (MARGIN * np.maximum(largest, tiny) / INT8_MAX).astype(np.float32)
        for name, largest in watched.largest.items()
    }
