"""float32 matrix → int8 with a scale per row, stored once → the layouts that graphs take it in."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

INT8, SCALE = ".int8", ".scale"
"""What is added to the name of a matrix for its rounded values and for what they count."""
TRANSPOSED, BLOCKS = ".transposed", ".blocks"
"""What the name of a stored matrix ends in where a graph takes it turned, or each row in blocks of
a size that follows."""
WIDENED = ".widened"
"""The same where a graph computes in floats, and only the file is smaller."""
INT8_MAX = 127


def rounded(matrix: NDArray[Any]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """A matrix of [channels out, channels in, ...] → int8 and a scale per row; 0 stays 0.

    Nothing here depends on the machine, so the bytes are the same wherever it is done.
    """
    exact = matrix.astype(np.float32).reshape(len(matrix), -1)
    scale = np.maximum(np.abs(exact).max(axis=1), np.finfo(np.float32).tiny) / INT8_MAX
    int8 = np.rint(exact / scale[:, None]).astype(np.int8)
    return int8.reshape(matrix.shape), scale.astype(np.float32)


def widened(int8: NDArray[np.int8], scale: NDArray[np.float32]) -> NDArray[np.float32]:
    """What the integers stand for."""
    return int8 * scale.reshape(-1, *[1] * (int8.ndim - 1))


def stored_name(name: str) -> str:
    """The array that a graph's tensor of this name is made of, by its layout only."""
    before, blocks, _ = name.rpartition(BLOCKS)
    return before if blocks else name.removesuffix(TRANSPOSED).removesuffix(WIDENED)


def rounded_where_asked(
    arrays: Mapping[str, NDArray[Any]], names: set[str]
) -> dict[str, NDArray[Any]]:
    """What to store for graphs that take `names`: arrays as they are, or rounded.

    KeyError if there is no array to make one from.
    """
    found: dict[str, NDArray[Any]] = {}
    for name in sorted(map(stored_name, names)):
        matrix = name.removesuffix(INT8).removesuffix(SCALE)
        if name in arrays:
            found[name] = arrays[name].copy()
        elif name not in found:
            int8, scale = rounded(arrays[matrix])
            found |= {f"{matrix}{INT8}": int8, f"{matrix}{SCALE}": scale}
    return found


def arranged(weights: Mapping[str, NDArray[Any]], name: str) -> NDArray[Any]:
    """A stored array, or one that differs from it in its layout only."""
    if name in weights:
        return weights[name]
    stored = stored_name(name)
    array = weights[stored]
    if name.endswith(TRANSPOSED):
        return np.ascontiguousarray(array.T)
    if name.endswith(WIDENED):
        return widened(array, weights[stored.removesuffix(INT8) + SCALE])
    size = int(name.rpartition(BLOCKS)[2])
    if array.dtype == np.int8:
        # The operator counts from 0: 128 stands for 0.
        return (array.view(np.uint8) ^ 0x80).reshape(len(array), -1, size)
    matrix = weights[stored.removesuffix(SCALE) + INT8]
    return np.repeat(array[:, None], matrix.shape[1] // size, axis=1)
