"""attention maps of an answer → pictures: token by token, over a picture, or over time."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray

from service.explanation import AttentionMap, Axis

MOST_LABELS = 60
"""More are left out."""


def array(of: AttentionMap) -> Float[ndarray, "*axes"]:
    """The weights with an axis for each of the map's."""
    weights: Float[ndarray, "*axes"] = np.array(of.weights)
    return weights.reshape([axis.size for axis in of.axes])


def panels(
    of: AttentionMap,
) -> Iterator[tuple[str, Float[ndarray, "rows columns"], Sequence[Axis]]]:
    """A title, a matrix and its two axes for each picture that a map is best seen as.

    Over tokens heads are averaged; over time they are the rows; over a picture each is by itself.
    What has one axis is a row, and drawn as columns.
    """
    weights, axes = array(of), list(of.axes)
    names = [axis.name for axis in axes]
    if len(names) == 1 or (names[-1] == "time" and names[-2:-1] != ["token"]):
        places = [".".join(str(index + 1) for index in at) for at in np.ndindex(weights.shape[:-1])]
        rows = Axis(name=".".join(names[:-1]), size=len(places), labels=places)
        yield of.name, weights.reshape(-1, axes[-1].size), [rows, axes[-1]]
        return
    if "head" in names and axes[-2].labels:
        weights, axes = weights.mean(axis=names.index("head")), axes[:-3] + axes[-2:]
    for place in np.ndindex(*weights.shape[:-2]):
        at = [
            axis.labels[index] if axis.labels else f"{axis.name} {index + 1}"
            for axis, index in zip(axes, place, strict=False)
        ]
        yield ", ".join(at) or of.name, weights[place], axes[-2:]


def draw(
    of: AttentionMap, path: Path, *, picture: UInt8[ndarray, "side side 3"] | None = None
) -> None:
    """Write a map as a picture file; `picture` is what maps of rows and columns lie over."""
    # Imported where it is needed: what imports large models has no memory to spare for it.
    from matplotlib.figure import Figure

    found = list(panels(of))
    across = of.axes[-3].size if picture is not None and len(of.axes) > 2 else min(len(found), 4)
    down = -(-len(found) // across)
    _, first, (rows, columns) = found[0]
    width, height = _inches(rows, columns, first.shape)
    figure = Figure(figsize=(across * width, down * height), layout="constrained")
    places: Any = figure.subplots(down, across, squeeze=False)
    for axes, (title, matrix, (rows, columns)) in zip(places.flat, found, strict=False):
        axes.set_title(title, fontsize=8)
        if picture is None and len(matrix) == 1:
            axes.bar(range(columns.size), matrix[0], width=0.9)
            _label(axes.xaxis, columns)
        elif picture is None:
            axes.imshow(matrix, aspect="auto", cmap="Blues", interpolation="nearest")
            _label(axes.yaxis, rows)
            _label(axes.xaxis, columns)
        else:
            side = len(picture)
            axes.imshow(picture)
            extent = (-0.5, side - 0.5, side - 0.5, -0.5)
            axes.imshow(matrix, extent=extent, cmap="inferno", alpha=0.6, interpolation="nearest")
            axes.set_axis_off()
    for axes in places.flat[len(found) :]:
        axes.set_axis_off()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=90)


def _inches(rows: Axis, columns: Axis, shape: tuple[int, ...]) -> tuple[float, float]:
    """Of one panel."""
    if rows.name == "row":
        return 1.7, 1.9
    if columns.name == "time":
        return 9.0, 1.2 + 0.18 * shape[0]
    return 1.6 + 0.32 * shape[1], 1.4 + 0.26 * shape[0]


def _label(side: Any, of: Axis) -> None:
    """Tokens at their places, or times at some of them."""
    side.set_label_text(f"{of.name}, s" if of.begins_s else of.name, fontsize=8)
    if of.labels and of.size <= MOST_LABELS:
        turned = 60 if side.axis_name == "x" else 0
        side.set_ticks(range(of.size), [label.strip() for label in of.labels], rotation=turned)
    elif of.begins_s:
        places = np.linspace(0, of.size - 1, min(of.size, 10)).astype(int)
        side.set_ticks(places, [f"{of.begins_s[place]:.2f}" for place in places])
    side.set_tick_params(labelsize=7)
