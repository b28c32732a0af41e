"""A graph runs on the provider it names, or on the plain CPU where that is not installed."""

import json
import logging
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from service import providers
from service import session as session_file
from service.providers import Precision, installed
from service.session import open_session, session_on

RNG = np.random.default_rng(0)
WEIGHT = RNG.standard_normal((64, 64)).astype(np.float32)
X = RNG.standard_normal((5, 64)).astype(np.float32)
needs_openvino = pytest.mark.skipif(not installed("openvino"), reason="its package is not here")


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """y = x w, with w outside of the graph."""
    make = onnx.helper.make_tensor_value_info
    sides = [make(name, onnx.TensorProto.FLOAT, ["batch", 64]) for name in "xy"]
    weight = onnx.numpy_helper.from_array(WEIGHT, "w")
    weight.ClearField("raw_data")
    weight.data_location = onnx.TensorProto.EXTERNAL
    weight.external_data.add(key="location", value="weights")
    node = onnx.helper.make_node("MatMul", ["x", "w"], ["y"])
    model = onnx.helper.make_model(
        onnx.helper.make_graph([node], "product", sides[:1], sides[1:], [weight]),
        opset_imports=[onnx.helper.make_opsetid("", 18)],
        ir_version=10,
    )
    file = tmp_path_factory.mktemp("graph") / "model.onnx"
    onnx.save(model, file)
    return file


def difference(session: ort.InferenceSession) -> float:
    return float(np.abs(session.run(["y"], {"x": X})[0] - X @ WEIGHT).max())


@needs_openvino
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_openvino_runs_a_graph_with_outside_weights(graph: Path, precision: Precision) -> None:
    session = open_session(
        graph, {"w": WEIGHT}, threads=1, provider="openvino", precision=precision
    )
    assert session.get_providers()[0] == "OpenVINOExecutionProvider"
    assert difference(session) < (1e-4 if precision == "float32" else 1)


@pytest.mark.parametrize(("precision", "hint"), [("float32", "f32"), ("bfloat16", "bf16")])
def test_openvino_is_told_the_precision_and_the_threads(
    precision: Precision, hint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: dict[str, str] = {}

    class Options:
        intra_op_num_threads = 0

        def add_session_config_entry(self, key: str, value: str) -> None:
            assert (key, value) == ("session.force_spinning_stop", "1")

        def add_provider_for_devices(self, devices: list[str], options: dict[str, str]) -> None:
            assert devices == ["a device"]
            told.update(json.loads(options["load_config"])["CPU"])

    monkeypatch.setattr(providers, "openvino_devices", lambda: ["a device"])
    providers.use(Options(), "openvino", precision=precision, threads=3)  # type: ignore[arg-type]
    assert told == {"INFERENCE_PRECISION_HINT": hint, "INFERENCE_NUM_THREADS": "3"}


def broken(*_: object, **__: object) -> None:
    raise OSError("libtbb.so.12: cannot open shared object file")


@pytest.mark.parametrize("fails", ["openvino_devices", "use"])
def test_a_provider_that_fails_at_load_leaves_the_graph_to_the_plain_cpu(
    fails: str, graph: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    plain = providers.use
    monkeypatch.setattr(providers, "openvino_devices", lambda: ["a device"])
    if fails == "use":
        monkeypatch.setattr(
            session_file,
            "use",
            lambda options, on, **others: (plain if on == "cpu" else broken)(options, on, **others),
        )
    else:
        monkeypatch.setattr(providers, fails, broken)
    with caplog.at_level(logging.WARNING, logger="attendant"):
        session = open_session(graph, {"w": WEIGHT}, threads=1, provider="openvino")
    assert session.get_providers() == ["CPUExecutionProvider"]
    assert difference(session) < 1e-4
    assert "libtbb.so.12: cannot open shared object file; the plain CPU runs it" in caplog.text


def test_a_provider_that_the_runtime_drops_without_a_word_is_noticed(
    graph: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(session_file, "installed", lambda provider: True)
    monkeypatch.setattr(session_file, "use", lambda *_, **__: ["CPUExecutionProvider"])
    with pytest.raises(RuntimeError, match="cuda does not start here"):
        session_on("cuda", graph, {"w": WEIGHT}, threads=1, precision="float16")
    session = open_session(graph, {"w": WEIGHT}, threads=1, provider="cuda")
    assert difference(session) < 1e-4
    assert "look at its driver and libraries; the plain CPU runs it" in caplog.text


def test_a_graph_that_is_broken_on_every_provider_stays_an_error(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"no graph")
    for provider in ("cpu", "cuda"):
        with pytest.raises(Exception, match=r"model\.onnx failed"):
            open_session(tmp_path / "model.onnx", {}, threads=1, provider=provider)


def test_without_the_package_the_plain_cpu_runs_and_says_so(
    graph: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime_ep_openvino", None)
    uncached = providers.openvino_devices.__wrapped__
    monkeypatch.setattr(providers, "openvino_devices", uncached)
    with caplog.at_level(logging.WARNING, logger="attendant"):
        session = open_session(graph, {"w": WEIGHT}, threads=1, provider="openvino")
    assert session.get_providers() == ["CPUExecutionProvider"]
    assert difference(session) < 1e-4
    assert "openvino is not installed; the plain CPU runs it" in caplog.text
