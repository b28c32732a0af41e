"""A graph runs on the provider it names, or on the plain CPU where that is not installed."""

import importlib
import logging
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from threading import Timer
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from service import onnx_session, providers
from service import session as session_file
from service.contract import Tensor
from service.providers import Precision, installed
from service.session import Model, Session, open_session, session_on

RNG = np.random.default_rng(0)
WEIGHT = RNG.standard_normal((64, 64)).astype(np.float32)
X = RNG.standard_normal((5, 64)).astype(np.float32)
needs_openvino = pytest.mark.skipif(not installed("openvino"), reason="its package is not here")


def openvino_session() -> ModuleType:
    """Importable only where its packages are."""
    return importlib.import_module("service.openvino_session")


def product(folder: Path, times: int) -> Path:
    """y = x w w..., with w outside of the graph."""
    make = onnx.helper.make_tensor_value_info
    sides = [make(name, onnx.TensorProto.FLOAT, ["batch", 64]) for name in "xy"]
    weight = onnx.numpy_helper.from_array(WEIGHT, "w")
    weight.ClearField("raw_data")
    weight.data_location = onnx.TensorProto.EXTERNAL
    weight.external_data.add(key="location", value="weights")
    names = ["x", *(f"x{number}" for number in range(1, times)), "y"]
    nodes = [onnx.helper.make_node("MatMul", [a, "w"], [b]) for a, b in pairwise(names)]
    model = onnx.helper.make_model(
        onnx.helper.make_graph(nodes, "product", sides[:1], sides[1:], [weight]),
        opset_imports=[onnx.helper.make_opsetid("", 18)],
        ir_version=10,
    )
    file = folder / "model.onnx"
    onnx.save(model, file)
    return file


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return product(tmp_path_factory.mktemp("graph"), 1)


@pytest.fixture(scope="module")
def long_graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return product(tmp_path_factory.mktemp("long"), 2_000)


def difference(session: Session) -> float:
    return float(np.abs(session.run({"x": X})()["y"] - X @ WEIGHT).max())


def on_openvino(graph: Path, precision: Precision = "float32") -> Session:
    return session_on("openvino", graph, {"w": WEIGHT}, threads=1, precision=precision)


@needs_openvino
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_openvino_runs_a_graph_with_outside_weights(graph: Path, precision: Precision) -> None:
    session = open_session(
        graph, {"w": WEIGHT}, threads=1, provider="openvino", precision=precision
    )
    assert session.provider == "openvino"
    assert difference(session) < (1e-4 if precision == "float32" else 1)


@needs_openvino
def test_openvino_tells_of_the_same_tensors_as_onnx_runtime(graph: Path) -> None:
    here, there = on_openvino(graph), open_session(graph, {"w": WEIGHT}, threads=1)
    assert (here.inputs, here.outputs) == (there.inputs, there.outputs)
    assert here.inputs["x"].axes == ("batch", 64)


@needs_openvino
@pytest.mark.parametrize(("precision", "hint"), [("float32", "f32"), ("bfloat16", "bf16")])
def test_openvino_is_told_the_precision_and_the_threads(
    precision: Precision, hint: str, graph: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: dict[str, object] = {}
    core = openvino_session().core()

    class Core:
        read_model = core.read_model

        def get_property(self, device: str, name: str) -> list[str]:
            assert (device, name) == ("CPU", "OPTIMIZATION_CAPABILITIES")
            return ["FP32", "BF16"]

        def compile_model(self, model: object, device: str, config: dict[str, object]) -> object:
            told.update(config)
            return core.compile_model(model, device)

    monkeypatch.setattr(openvino_session(), "core", Core)
    session_on("openvino", graph, {"w": WEIGHT}, threads=3, precision=precision)
    assert (told["INFERENCE_PRECISION_HINT"], told["INFERENCE_NUM_THREADS"]) == (hint, 3)
    monkeypatch.setattr(Core, "get_property", lambda *_: ["FP32"])
    session_on("openvino", graph, {"w": WEIGHT}, threads=3, precision=precision)
    assert told["INFERENCE_PRECISION_HINT"] == "f32"


@needs_openvino
def test_openvino_runs_batches_of_several_threads_at_once(graph: Path) -> None:
    session = on_openvino(graph)
    batches = [RNG.standard_normal((size, 64)).astype(np.float32) for size in (1, 3, 5) * 20]

    def answer(batch: np.ndarray) -> np.ndarray:
        return session.run({"x": batch})()["y"]

    with ThreadPoolExecutor(4) as pool:
        for batch, found in zip(batches, pool.map(answer, batches), strict=True):
            np.testing.assert_allclose(found, batch @ WEIGHT, atol=1e-4)


@needs_openvino
def test_an_answer_of_openvino_outlives_the_next_run(graph: Path) -> None:
    session = on_openvino(graph)
    first = session.run({"x": X})()["y"]
    session.run({"x": -X})()
    np.testing.assert_allclose(first, X @ WEIGHT, atol=1e-4)


@needs_openvino
def test_a_graph_whose_types_openvino_changes_is_left_to_the_plain_cpu(
    graph: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    declared = {"y": Tensor("int8", ("batch", 64))}
    monkeypatch.setattr(openvino_session(), "tensors", lambda nodes: declared)
    session = open_session(graph, {"w": WEIGHT}, threads=1, provider="openvino")
    assert session.provider == "cpu"
    assert "OpenVINO gives y as float32, not int8; the plain CPU runs it" in caplog.text


@needs_openvino
@pytest.mark.parametrize("inner", [False, True])
def test_a_graph_may_not_name_a_file_or_an_address_of_its_own(
    inner: bool, graph: Path, tmp_path: Path
) -> None:
    model = onnx.load(graph, load_external_data=False)
    tensor = model.graph.initializer[0] if not inner else onnx.TensorProto()
    if inner:
        tensor.CopyFrom(model.graph.initializer[0])
    tensor.name = "secret"
    del tensor.external_data[:]
    tensor.external_data.add(key="location", value="/etc/passwd")
    if inner:
        node = onnx.helper.make_node("Constant", [], ["read"], value=tensor)
        model.graph.node.insert(0, node)
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(RuntimeError, match="the graph takes secret from elsewhere"):
        on_openvino(tmp_path / "model.onnx")


@needs_openvino
def test_openvino_writes_into_the_arrays_it_is_bound_to(graph: Path) -> None:
    x, y = X.copy(), np.zeros_like(X)
    run = on_openvino(graph).bind({"x": x}, {"y": y})
    for factor in (1, 2):
        x[:] = factor * X
        run()
        np.testing.assert_allclose(y, factor * X @ WEIGHT, atol=1e-4)


@pytest.mark.parametrize("provider", ["cpu", pytest.param("openvino", marks=needs_openvino)])
def test_a_run_that_is_stopped_raises_and_the_next_one_answers(
    provider: providers.Provider, long_graph: Path
) -> None:
    weights = {"w": WEIGHT / 64}
    session = open_session(long_graph, weights, threads=1, provider=provider)
    assert session.provider == provider
    model = Model("long", {"model": session})
    many = np.zeros((20_000, 64), np.float32)
    Timer(0.1, model.stop).start()
    with pytest.raises(Exception, match=r"(?i)terminate|cancel"):
        model.run("model", {"x": many})
    assert model.run("model", {"x": many[:2]})["y"].shape == (2, 64)


@pytest.mark.parametrize("fails", ["openvino_here", "session_on"])
def test_a_provider_that_fails_at_load_leaves_the_graph_to_the_plain_cpu(
    fails: str, graph: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    plain = session_file.session_on

    def broken(on: str = "openvino", *arguments: Any, **others: Any) -> Session:
        if on == "cpu":
            return plain(on, *arguments, **others)
        raise OSError("libtbb.so.12: cannot open shared object file")

    monkeypatch.setattr(providers if fails == "openvino_here" else session_file, fails, broken)
    with caplog.at_level(logging.WARNING, logger="attendant"):
        session = open_session(graph, {"w": WEIGHT}, threads=1, provider="openvino")
    assert session.provider == "cpu"
    assert difference(session) < 1e-4
    assert "libtbb.so.12: cannot open shared object file; the plain CPU runs it" in caplog.text


def test_a_provider_that_the_runtime_drops_without_a_word_is_noticed(
    graph: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(session_file, "installed", lambda provider: True)
    monkeypatch.setattr(onnx_session, "cuda_libraries", lambda: None)
    opened = ort.InferenceSession

    def dropping(graph: str, options: object, providers: list[str]) -> ort.InferenceSession:
        return opened(graph, options, providers=[providers[-1]])

    monkeypatch.setattr(ort, "InferenceSession", dropping)
    with pytest.raises(RuntimeError, match="cuda does not start here"):
        session_on("cuda", graph, {"w": WEIGHT}, threads=1, precision="float16")
    session = open_session(graph, {"w": WEIGHT}, threads=1, provider="cuda")
    assert difference(session) < 1e-4
    assert "look at its driver and libraries; the plain CPU runs it" in caplog.text


def test_a_graph_that_is_broken_on_every_provider_stays_an_error(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"no graph")
    for provider in ("cpu", "openvino", "cuda"):
        with pytest.raises(Exception, match=r"model\.onnx failed"):
            open_session(tmp_path / "model.onnx", {}, threads=1, provider=provider)


def test_without_the_package_the_plain_cpu_runs_and_says_so(
    graph: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    monkeypatch.setattr(providers, "openvino_here", providers.openvino_here.__wrapped__)
    with caplog.at_level(logging.WARNING, logger="attendant"):
        session = open_session(graph, {"w": WEIGHT}, threads=1, provider="openvino")
    assert session.provider == "cpu"
    assert difference(session) < 1e-4
    assert "openvino is not installed; the plain CPU runs it" in caplog.text
