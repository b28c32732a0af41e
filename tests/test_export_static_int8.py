"""OpenVINO's graphs multiply in int8 with ranges taken from samples, and say nearly the same."""

import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from export import quantize as dynamic
from export.activations import observe, observed
from export.calibrate import calibrate
from export.model import export_model
from export.precision import to_int8
from export.publish import external, seal
from export.quantize import declare
from export.sensitivity import tolerable
from export.source import Trained
from export.static_int8 import quantize
from service.contract import Arrays
from service.decoder import decode
from service.manifest import Manifest
from service.providers import installed
from service.search import Search
from service.session import Runner, bound, session_on
from service.store import open_model
from service.tasks import task as task_of

needs_openvino = pytest.mark.skipif(not installed("openvino"), reason="its package is not here")
RNG = np.random.default_rng(0)
CHANNELS = 48
ROWS = RNG.standard_normal((200, CHANNELS)).astype(np.float32)
ROWS[:, 7] *= 300  # as a few channels of large models are
WEIGHTS = {
    "first": RNG.standard_normal((32, CHANNELS)).astype(np.float32),
    "second": RNG.standard_normal((8, 32)).astype(np.float32),
    "bias": RNG.standard_normal(32).astype(np.float32),
}
WEIGHTS["first"][:, 7] /= 300


@pytest.fixture(autouse=True)
def small_matrices_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dynamic, "LEAST_ELEMENTS", 100)


def proto() -> onnx.ModelProto:
    """y = relu(x first' + bias) second', as torch exports it."""
    make, kind = helper.make_node, onnx.TensorProto.FLOAT
    nodes = [
        make("Transpose", ["first"], ["first.turned"], perm=[1, 0]),
        make("MatMul", ["x", "first.turned"], ["product"], name="first"),
        make("Add", ["product", "bias"], ["sum"]),
        make("Relu", ["sum"], ["positive"]),
        make("Transpose", ["second"], ["second.turned"], perm=[1, 0]),
        make("MatMul", ["positive", "second.turned"], ["y"], name="second"),
    ]
    sides = [
        [helper.make_tensor_value_info(name, kind, ["batch", size])]
        for name, size in (("x", CHANNELS), ("y", 8))
    ]
    graph = helper.make_graph(nodes, "two", *sides)
    declare(graph, {name: (kind, list(array.shape)) for name, array in WEIGHTS.items()})
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def answers(model: onnx.ModelProto, weights: Arrays, folder: Path, rows: Arrays) -> Arrays:
    onnx.save(model, folder / "model.onnx")
    taken = bound(weights, external(model))
    return session_on("cpu", folder / "model.onnx", taken, threads=1, precision="float32").run(
        rows
    )()


def ranges(folder: Path) -> dict[str, np.ndarray]:
    model, matrices = observed(proto(), WEIGHTS)
    assert matrices == ["first", "second"]
    found = answers(model, WEIGHTS, folder, {"x": ROWS})
    return {name: found[f"{name}.observed"] for name in matrices}


def test_the_range_of_every_channel_is_seen(tmp_path: Path) -> None:
    found = ranges(tmp_path)
    np.testing.assert_array_equal(found["first"], [ROWS.min(axis=0), ROWS.max(axis=0)])
    hidden = np.maximum(ROWS @ WEIGHTS["first"].T + WEIGHTS["bias"], 0)
    np.testing.assert_allclose(found["second"][1], hidden.max(axis=0), rtol=1e-4)


def test_one_large_channel_costs_the_others_nothing(tmp_path: Path) -> None:
    small, weights = quantize(proto(), WEIGHTS, ranges(tmp_path))
    assert [array.dtype for name, array in weights.items() if name.endswith(".int8")] == [
        np.int8,
        np.int8,
    ]
    assert [node.op_type for node in small.graph.node].count("QuantizeLinear") == 2
    exact = answers(proto(), WEIGHTS, tmp_path, {"x": ROWS})["y"]
    found = answers(small, weights, tmp_path, {"x": ROWS})["y"]
    assert np.abs(found - exact).max() < 0.03 * np.abs(exact).max()


def test_a_channel_that_is_never_used_is_no_reason_for_infinities(tmp_path: Path) -> None:
    seen = ranges(tmp_path)
    seen["first"][:, 3] = 0
    _, weights = quantize(proto(), WEIGHTS | {"second": 0 * WEIGHTS["second"]}, seen)
    for array in weights.values():
        assert np.isfinite(array.astype(np.float16)).all()


def test_what_was_never_seen_stays_in_floats(tmp_path: Path) -> None:
    seen = {"second": ranges(tmp_path)["second"]}
    small, weights = quantize(proto(), WEIGHTS, seen)
    np.testing.assert_array_equal(weights["first"], WEIGHTS["first"])
    assert "second" not in weights
    assert [node.op_type for node in small.graph.node].count("QuantizeLinear") == 1


@needs_openvino
def test_what_would_change_the_outputs_too_much_stays_in_floats(tmp_path: Path) -> None:
    seen = ranges(tmp_path)
    model = tmp_path / "two.onnx"
    onnx.save(proto(), model)
    assert tolerable(model, WEIGHTS, seen, [{"x": ROWS}]).keys() == {"first", "second"}
    seen["second"] = 50 * seen["second"]  # as if a few activations were far out
    assert tolerable(model, WEIGHTS, seen, [{"x": ROWS}]).keys() == {"first"}


def test_keys_and_values_that_leave_a_graph_are_cast(tmp_path: Path) -> None:
    model = proto()
    (out,) = model.graph.output
    out.name, out.type.tensor_type.elem_type = "y.int8", onnx.TensorProto.INT8
    zero = numpy_helper.from_array(np.array(0, np.int8), "zero")
    one = numpy_helper.from_array(np.array(1, np.float32), "one")
    model.graph.initializer.extend([zero, one])
    model.graph.node.append(helper.make_node("QuantizeLinear", ["y", "one", "zero"], ["y.int8"]))
    rows = {"x": ROWS * np.float32(10)}
    exact = answers(model, WEIGHTS, tmp_path, rows)["y.int8"]
    cast, weights = quantize(model, WEIGHTS, {})
    assert {"Round", "Clip", "Cast"} <= {node.op_type for node in cast.graph.node}
    found = answers(cast, weights, tmp_path, rows)["y.int8"]
    assert found.dtype == np.int8
    np.testing.assert_array_equal(found, exact)
    assert {*np.unique(found)} >= {-128, 127}, "else nothing shows that they are clipped"


@pytest.fixture
def before(tiny_trained: Trained, tmp_path: Path) -> tuple[Path, Manifest]:
    folder = tmp_path / "before"
    return folder, export_model(tiny_trained, name="translation", target="openvino", folder=folder)


@needs_openvino
def test_a_model_of_openvino_in_int8_says_nearly_the_same_on_its_own_runtime(
    before: tuple[Path, Manifest], tmp_path: Path
) -> None:
    folder, manifest = before
    task = task_of("translation")
    exact, _ = open_model(folder, task, threads=1)
    lengths = np.array([9, 5, 1])
    feed = {"source": RNG.integers(5, 60, (3, 9)), "source_lengths": lengths}

    def answer(runner: Runner) -> None:
        encoded = runner.run("encoder", feed)
        decode(runner, encoded | {"source_lengths": lengths}, [Search([2], -1, 8)] * 3)

    small = tmp_path / "small"
    shutil.copytree(folder, small)
    scales, products = calibrate(exact, answer), observe(folder, exact, answer)
    seal(small, to_int8(small, manifest, scales, products))
    found, after = open_model(small, task, threads=1)
    assert found.sessions["encoder"].provider == "openvino", "and not the plain CPU in its place"
    assert after.graphs["encoder"].precision == "bfloat16"
    names = [name for name in after.graphs["encoder"].weights if name.endswith(".smoothed.int8")]
    assert len(names) == len(products) > 0
    given = found.run("encoder", feed)
    for name, array in exact.run("encoder", feed).items():
        assert given[name].dtype == np.int8
        values = given[name] * scales[name][None, :, None]
        for row, length in enumerate(lengths):  # what is filled up says nothing
            there = np.s_[row, :, :length]
            assert np.abs(values[there] - array[there]).max() < 0.1 * np.abs(array).max()
    answer(found)
