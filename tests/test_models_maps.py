"""Maps are drawn by what their axes are: tokens, a picture, times."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models.maps import array, draw, panels
from service.explanation import AttentionMap, Axis, Weights, drawn

TOKENS = [
    Axis(name="target", size=2, labels=["a", "b"]),
    Axis(name="source", size=3, labels=["x"] * 3),
]
TIME = Axis(name="time", size=3, begins_s=[0.0, 0.1, 0.2])
PICTURE = np.full((8, 8, 3), 200, np.uint8)


def a_map(shape: tuple[int, ...], axes: list[str | Axis]) -> AttentionMap:
    weights = np.random.default_rng(0).random(shape)
    (found,) = drawn([Weights("map", weights, axes)])
    return found


def test_an_array_has_the_axes_of_its_map() -> None:
    found = array(a_map((2, 3), ["row", "column"]))
    assert found.shape == (2, 3)


def test_heads_over_tokens_are_averaged_layer_by_layer() -> None:
    found = a_map((2, 4, 2, 3), ["layer", "head", *TOKENS])
    shown = list(panels(found))
    assert [title for title, _, _ in shown] == ["layer 1", "layer 2"]
    np.testing.assert_allclose(shown[1][1], array(found)[1].mean(axis=0))


def test_every_head_over_a_picture_is_by_itself() -> None:
    shown = list(panels(a_map((2, 2, 4, 4), ["layer", "head", "row", "column"])))
    assert [title for title, _, _ in shown][1] == "layer 1, head 2"
    assert len(shown) == 4


def test_a_map_of_each_of_some_labels_is_headed_by_it() -> None:
    found = Axis(name="detection", size=2, labels=["cat", "dog"])
    shown = list(panels(a_map((2, 1, 4, 4), [found, "head", "row", "column"])))
    assert [title for title, _, _ in shown] == ["cat, head 1", "dog, head 1"]


def test_heads_over_time_are_rows() -> None:
    ((_, matrix, (rows, _)),) = panels(a_map((2, 2, 3), ["layer", "head", TIME]))
    assert matrix.shape == (4, 3)
    assert rows.labels == ["1.1", "1.2", "2.1", "2.2"]


@pytest.mark.parametrize(
    ("shape", "axes", "over"),
    [
        ((2, 4, 2, 3), ["layer", "head", *TOKENS], False),
        ((4, 2, 3), ["head", Axis(name="token", size=2, labels=["a", "b"]), TIME], False),
        ((2, 2, 3), ["layer", "head", TIME], False),
        ((3,), [TIME], False),
        ((3,), TOKENS[1:], False),
        ((4, 4), ["row", "column"], True),
        ((2, 3, 4, 4), ["layer", "head", "row", "column"], True),
    ],
)
def test_a_map_becomes_a_picture(
    shape: tuple[int, ...], axes: list[str | Axis], over: bool, tmp_path: Path
) -> None:
    path = tmp_path / "maps" / "map.png"
    draw(a_map(shape, axes), path, picture=PICTURE if over else None)
    with Image.open(path) as image:
        assert min(image.size) > 50
        assert len(np.unique(np.asarray(image.convert("L").resize((40, 40))))) > 10
