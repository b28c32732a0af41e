"""encoded sources → rows of a decoding batch: buffers that a decoder graph writes in place.

The graph takes one token per row and adds each layer's new key and value to the buffers it is
given: past and present are bound to the same memory, so a step copies no cache. The first n rows of
the buffers are a batch of n.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float32
from numpy import ndarray
from numpy.typing import NDArray

from service.contract import HANDED_ON, Tensor
from service.session import Runner


def _size(tensor: Tensor, axis: int) -> int:
    size = tensor.axes[axis]
    assert isinstance(size, int), f"axis {axis} of {tensor} varies"
    return size


class Slots:
    """Row buffers of one decoding batch, bound to the decoder graph by address.

    One row is one hypothesis; the `beam_size` hypotheses of an item are neighbours.
    """

    def __init__(
        self, model: Runner, encoded: Mapping[str, NDArray[Any]], *, beam_size: int, max_len: int
    ) -> None:
        self.model = model
        self.beam_size = beam_size
        self.memory = {
            name: np.ascontiguousarray(array if beam_size == 1 else array.repeat(beam_size, axis=0))
            for name, array in encoded.items()
        }
        rows = len(next(iter(self.memory.values())))
        tensors = model.tensors("decoder")
        self.caches: dict[str, NDArray[Any]] = {
            name: np.zeros((rows, _size(tensor, 1), max_len, _size(tensor, 3)), tensor.dtype)
            for name, tensor in tensors.items()
            if name.startswith("past_") and name != "past_lengths"
        }
        self.tokens = np.zeros((rows, 1), np.int64)
        self.past_lengths = np.zeros(rows, np.int64)
        self.logits = np.empty((rows, _size(tensors["logits"], 1)), np.float32)
        self._run: Callable[[], None] = lambda: None
        self._rows = 0

    def step(self, tokens: Sequence[int], past_length: int) -> Float32[ndarray, "rows vocab"]:
        """Feed one token per row at position `past_length`; returns logits, overwritten later."""
        rows = len(tokens)
        self.tokens[:rows, 0] = tokens
        self.past_lengths[:rows] = past_length
        if rows != self._rows:
            self._run, self._rows = self._bound(rows), rows
        self._run()
        return self.logits[:rows]

    def _bound(self, rows: int) -> Callable[[], None]:
        """A step of the first `rows` rows."""
        fed = {"tokens": self.tokens, "past_lengths": self.past_lengths}
        arrays = self.memory | self.caches | fed
        inputs = {name: array[:rows] for name, array in arrays.items()}
        outputs = {"logits": self.logits[:rows]}
        for output, taken in HANDED_ON.items():
            for name in (*self.memory, *self.caches):
                if name.startswith(f"{taken}_"):
                    outputs[name.replace(taken, output, 1)] = inputs[name]
        return self.model.bind("decoder", inputs, outputs)

    def move(self, parents: Sequence[int], length: int) -> None:
        """Row i continues row `parents[i]`; only rows that change are copied."""
        to = [row for row, parent in enumerate(parents) if row != parent]
        source = [parents[row] for row in to]
        if to:
            for array in self.caches.values():
                array[to, :, :length] = array[source, :, :length]
        # The hypotheses of one item share what the encoder gave it.
        to = [row for row in to if row // self.beam_size != parents[row] // self.beam_size]
        source = [parents[row] for row in to]
        if to:
            for array in self.memory.values():
                array[to] = array[source]
