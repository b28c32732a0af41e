"""Matrices are rounded alike wherever it is done, and stored once for every layout."""

import numpy as np
import pytest

from service.int8 import arranged, rounded, rounded_where_asked, stored_name


def test_a_matrix_is_rounded_by_row_to_half_a_step() -> None:
    matrix = np.random.default_rng(0).standard_normal((5, 64)).astype(np.float32)
    matrix[2] *= 100
    matrix[3] = 0
    values, scale = rounded(matrix)
    assert values.dtype == np.int8
    assert np.abs(values).max(axis=1).tolist() == [127, 127, 127, 0, 127]
    assert (np.abs(values * scale[:, None] - matrix) <= scale[:, None] * 0.501).all()


def test_what_is_kept_in_float16_is_rounded_as_its_float32() -> None:
    half = np.random.default_rng(1).standard_normal((7, 32)).astype(np.float16)
    for one, other in zip(rounded(half), rounded(half.astype(np.float32)), strict=True):
        assert one.dtype == other.dtype
        assert one.tobytes() == other.tobytes()


@pytest.mark.parametrize(
    ("name", "stored"),
    [
        ("a.weight", "a.weight"),
        ("a.weight.int8.transposed", "a.weight.int8"),
        ("a.weight.int8.widened", "a.weight.int8"),
        ("a.weight.int8.blocks32", "a.weight.int8"),
        ("a.weight.scale.blocks32", "a.weight.scale"),
    ],
)
def test_every_layout_is_made_of_what_is_stored(name: str, stored: str) -> None:
    assert stored_name(name) == stored


def test_an_array_is_kept_or_rounded_as_graphs_ask_for_it() -> None:
    arrays = {
        "a": np.random.default_rng(2).standard_normal((4, 64)).astype(np.float16),
        "b": np.ones(3, np.float16),
        "unused": np.ones(3, np.float16),
    }
    asked = {"a.int8.transposed", "a.int8.blocks32", "a.scale.blocks32", "b"}
    found = rounded_where_asked(arrays, asked)
    assert set(found) == {"a.int8", "a.scale", "b"}
    assert found["b"].dtype == np.float16
    names = ("a.int8.transposed", "a.int8.blocks32", "a.scale.blocks32")
    turned, blocks, steps = (arranged(found, name) for name in names)
    assert np.array_equal(turned, found["a.int8"].T)
    assert np.array_equal(blocks.reshape(4, 64).astype(int) - 128, found["a.int8"])
    assert np.array_equal(steps, found["a.scale"].repeat(2).reshape(4, 2))


def test_a_kernel_is_widened_channel_by_channel() -> None:
    kernel = np.random.default_rng(3).standard_normal((4, 3, 2, 2)).astype(np.float32)
    kernel[1] *= 50
    found = rounded_where_asked({"a": kernel}, {"a.int8.widened"})
    assert found["a.int8"].shape == kernel.shape
    back = arranged(found, "a.int8.widened")
    assert back.dtype == np.float32
    assert (np.abs(back - kernel) <= 0.501 * found["a.scale"][:, None, None, None]).all()


def test_an_array_that_is_not_there_is_named() -> None:
    with pytest.raises(KeyError, match="gone"):
        rounded_where_asked({}, {"gone.int8.transposed"})
