"""what encoders gave → rows of a decoding batch: buffers that a decoder graph reads and writes.

The graph takes one token per row and adds each layer's new key and value to the buffers it is
given: past and present are bound to the same memory, so a step copies no cache. A state of fixed
size changes as a whole, and a runtime may write an output before all that read the input have run:
it has two buffers, and each step reads one and writes the other. The first n rows of the buffers
are a batch of n, and each row has a length of its own.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float32
from numpy import ndarray
from numpy.typing import NDArray

from service.contract import HANDED_ON, Tensor
from service.session import Runner

SOURCE_AXIS = 2
"""Of what the encoder gives (batch, heads, src_len, head_dim)."""


def _size(tensor: Tensor, axis: int) -> int:
    size = tensor.axes[axis]
    assert isinstance(size, int), f"axis {axis} of {tensor} varies"
    return size


class Slots:
    """Row buffers of a decoding batch, bound to the decoder graph by address.

    One row is one hypothesis; those of an item are neighbours. What is never touched takes no
    memory: the system gives pages as they are written.
    """

    def __init__(self, model: Runner, *, rows: int, max_len: int) -> None:
        self.model = model
        tensors = model.tensors("decoder")
        self.caches: dict[str, NDArray[Any]] = {
            name: np.zeros((rows, _size(tensor, 1), max_len, _size(tensor, 3)), tensor.dtype)
            for name, tensor in tensors.items()
            if name.startswith("past_") and name != "past_lengths"
        }
        states = {
            name: (rows, *(_size(tensor, axis) for axis in range(1, len(tensor.axes))))
            for name, tensor in tensors.items()
            if name.startswith("state_")
        }
        self.states = [
            {name: np.zeros(shape, tensors[name].dtype) for name, shape in states.items()}
            for _ in range(2 if states else 1)
        ]
        """First what the next step reads, last what it writes."""
        self.memory: dict[str, NDArray[Any]] = {}
        self.tokens = np.zeros((rows, 1), np.int64)
        self.lengths = np.zeros(rows, np.int64)
        self.logits = np.empty((rows, _size(tensors["logits"], 1)), np.float32)
        self._named = tensors.keys()
        self._runs: list[dict[int, Callable[[], None]]] = [{} for _ in self.states]
        """By the rows of a batch, for each order of the buffers of states."""

    @property
    def capacity(self) -> int:
        return len(self.lengths)

    def fill(self, row: int, widths: Sequence[int], encoded: Mapping[str, NDArray[Any]]) -> None:
        """Give a batch of encoded items the rows from `row` on, `widths` of them to each."""
        self.lengths[row : row + sum(widths)] = 0
        states = self.states[0]
        memory = {name: array for name, array in encoded.items() if name not in states}
        if not self.memory and len(widths) == self.capacity:
            # They have one row each and all rows there are: no copy of what may be large.
            self.memory = {name: np.ascontiguousarray(array) for name, array in memory.items()}
            memory = {}
        for name in (*memory, *states):
            array = encoded[name]
            rows = array.repeat(widths, axis=0) if max(widths) > 1 else array
            kept = states[name] if name in states else self._room(name, rows)
            at = (slice(row, row + len(rows)), *(slice(size) for size in rows.shape[1:]))
            kept[at] = rows

    def _room(self, name: str, rows: NDArray[Any]) -> NDArray[Any]:
        """The buffer of one of the encoder's outputs, made or made longer where it must be."""
        kept = self.memory.get(name)
        if kept is None:
            kept = np.zeros((self.capacity, *rows.shape[1:]), rows.dtype)
        elif rows.ndim > SOURCE_AXIS and rows.shape[SOURCE_AXIS] > kept.shape[SOURCE_AXIS]:
            shape = list(kept.shape)
            shape[SOURCE_AXIS] = max(rows.shape[SOURCE_AXIS], 2 * shape[SOURCE_AXIS])
            longer = np.zeros(shape, kept.dtype)
            longer[:, :, : kept.shape[SOURCE_AXIS]] = kept
            kept = longer
        if kept is not self.memory.get(name):
            self.memory[name] = kept
            for runs in self._runs:
                runs.clear()
        return kept

    def step(self, tokens: Sequence[int]) -> Float32[ndarray, "rows vocab"]:
        """Feed one token to each of the first rows; returns logits, overwritten later."""
        rows = len(tokens)
        self.tokens[:rows, 0] = tokens
        runs = self._runs[0]
        if rows not in runs:
            runs[rows] = self._bound(rows)
        runs[rows]()
        self.states.reverse()
        self._runs.reverse()
        self.lengths[:rows] += 1
        return self.logits[:rows]

    def _bound(self, rows: int) -> Callable[[], None]:
        """A step of the first `rows` rows, from the first states to the last."""
        fed = {"tokens": self.tokens, "past_lengths": self.lengths}
        kept = self.memory | self.caches
        arrays = kept | self.states[0] | fed
        inputs = {name: array[:rows] for name, array in arrays.items()}
        outputs = {"logits": self.logits[:rows]}
        for output, taken in HANDED_ON.items():
            for name, array in (kept | self.states[-1]).items():
                given = name.replace(taken, output, 1)
                if name.startswith(f"{taken}_") and given in self._named:
                    outputs[given] = array[:rows]
        return self.model.bind("decoder", inputs, outputs)

    def move(self, parents: Sequence[int], relocated: Sequence[int]) -> None:
        """Row i continues row `parents[i]`; only rows that change are copied.

        `relocated` are the rows that continue another item's place: the hypotheses of one item
        share what the encoder gave it.
        """
        to = [row for row, parent in enumerate(parents) if row != parent]
        source = [parents[row] for row in to]
        if to:
            longest = int(self.lengths[source].max())
            for array in self.caches.values():
                array[to, :, :longest] = array[source, :, :longest]
            for array in self.states[0].values():
                array[to] = array[source]
            self.lengths[to] = self.lengths[source]
        to = list(relocated)
        source = [parents[row] for row in to]
        if to:
            for array in self.memory.values():
                array[to] = array[source]
