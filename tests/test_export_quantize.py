"""Quantized graphs say nearly the same, and a model that suffers from it is refused."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from export import gate, precision, quantize
from export.gate import GateError, compare
from export.model import export_model
from export.precision import change_precision
from export.published import from_published
from export.source import Trained
from models.evaluate import MEASURES
from service import int8
from service import manifest as manifests
from service.int8 import arranged, stored_name
from service.manifest import Quality
from service.providers import installed
from service.session import bound, read_weights
from service.store import open_model
from service.tasks import task as task_of

needs_openvino = pytest.mark.skipif(not installed("openvino"), reason="its package is not here")


@pytest.fixture
def allowed(monkeypatch: pytest.MonkeyPatch) -> dict[str, Quality]:
    """A gate that finds every model good, and has every matrix quantized."""
    found = {"en→de": Quality(reference=30.0, reached=29.9)}
    monkeypatch.setattr(precision, "compare", lambda *_, **__: found)
    monkeypatch.setattr(precision, "ranges", lambda *_: ({}, {}))  # keys and values stay float32
    monkeypatch.setattr(quantize, "LEAST_ELEMENTS", 1_024)
    return found


@pytest.fixture
def quantized(tiny_translation: Path, tmp_path: Path, allowed: dict[str, Quality]) -> Path:
    folder = tmp_path / "translation"
    shutil.copytree(tiny_translation, folder)
    assert change_precision(folder, precision="int8", data_dir=tmp_path).quality == allowed
    return folder


def test_a_quantized_model_keeps_its_contract_and_says_nearly_the_same(
    tiny_translation: Path, quantized: Path
) -> None:
    task = task_of("translation")
    before, _ = open_model(tiny_translation, task, threads=1)
    after, manifest = open_model(quantized, task, threads=1)
    rng = np.random.default_rng(0)
    feed = {"source": rng.integers(5, 60, (3, 9)), "source_lengths": np.array([9, 5, 1])}
    expected, found = before.run("encoder", feed), after.run("encoder", feed)
    for name, array in expected.items():
        assert np.abs(found[name] - array).max() < 0.1 * np.abs(array).max()
    assert manifest.version != manifests.read(tiny_translation).version


def test_products_and_tables_are_int8(quantized: Path) -> None:
    for graph, products in (("encoder", 2 * 4 + 2), ("decoder", 2 * 6 + 1)):
        nodes = onnx.load(quantized / f"{graph}.onnx", load_external_data=False).graph.node
        made = [node for node in nodes if node.op_type == "MatMulIntegerToFloat"]
        assert len(made) == products
        assert not any(node.op_type == "MatMul" for node in nodes)


def test_activations_that_several_products_take_are_rounded_once(quantized: Path) -> None:
    nodes = onnx.load(quantized / "encoder.onnx", load_external_data=False).graph.node
    rounded = [node.input[0] for node in nodes if node.op_type == "QuantizeLinear"]
    made = [node for node in nodes if node.op_type == "MatMulIntegerToFloat"]
    assert len(rounded) == len(set(rounded)) < len(made)


def test_a_row_is_the_same_to_the_last_bit_in_any_company(quantized: Path) -> None:
    """Great neighbours and small ones, and a row of zeros."""
    decoder, _ = open_model(quantized, task_of("translation"), threads=1)
    rng = np.random.default_rng(0)
    sizes = {"batch": 7, "src_len": 5, "max_len": 6}
    feed: dict[str, Any] = {}
    for name, tensor in decoder.tensors("decoder").items():
        shape = tuple(sizes.get(str(axis), axis) for axis in tensor.axes)
        if name.startswith(("cross_", "past_")) and len(shape) == 4:
            scale = 10.0 ** rng.integers(-3, 3, (7, 1, 1, 1))
            feed[name] = (rng.standard_normal(shape) * scale).astype(np.float32)
            feed[name][3] = 0
    feed["tokens"] = rng.integers(5, 60, (7, 1))
    feed["past_lengths"], feed["source_lengths"] = np.full(7, 4), np.full(7, 5)
    together = decoder.run("decoder", feed)["logits"]
    for row in range(7):
        alone = decoder.run("decoder", {name: a[row : row + 1] for name, a in feed.items()})
        assert np.array_equal(alone["logits"][0], together[row])
        assert np.isfinite(together[row]).all()


def test_a_matrix_used_twice_is_stored_once(quantized: Path) -> None:
    stored = read_weights(quantized / manifests.WEIGHTS)
    manifest = manifests.read(quantized)
    taken = [name for entry in manifest.graphs.values() for name in entry.weights]
    assert {"embedding.weight.int8", "embedding.weight.int8.transposed"} <= set(taken)
    assert {name for name in stored if name.startswith("embedding")} == {
        "embedding.weight.int8",
        "embedding.weight.scale",
    }
    assert stored["embedding.weight.int8"].dtype == np.int8


def test_a_kernel_is_small_in_the_file_and_a_float_in_the_graph(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(quantize, "LEAST_ELEMENTS", 1_024)
    entry = manifests.read(manifests.SHIPPED / "audio-classification").graphs["model"]
    trained = from_published(manifests.SHIPPED / "audio-classification")
    kernel = trained.model.get_submodule("stem.convolutions.3").weight.detach().numpy()
    stored = read_weights(manifests.SHIPPED / "audio-classification" / manifests.WEIGHTS)
    name = "stem.convolutions.3.weight.int8.widened"
    assert name in entry.weights
    assert stored[stored_name(name)].dtype == np.int8
    assert np.abs(arranged(stored, name) - kernel).max() == 0


def test_small_matrices_stay_as_they_are(tiny_translation: Path) -> None:
    manifest = manifests.read(tiny_translation)
    stored = read_weights(tiny_translation / manifests.WEIGHTS)
    entry = manifest.graphs["encoder"]
    proto = onnx.load(tiny_translation / entry.file, load_external_data=False)
    unchanged, weights = quantize.quantize(proto, bound(stored, entry.weights))
    assert [node.op_type for node in unchanged.graph.node] == [n.op_type for n in proto.graph.node]
    assert set(weights) == set(entry.weights)


def test_a_refused_model_leaves_the_one_before_it(
    tiny_translation: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "translation"
    shutil.copytree(tiny_translation, folder)

    def refuse(*_: object, **__: object) -> dict[str, Quality]:
        raise GateError("worse")

    monkeypatch.setattr(precision, "compare", refuse)
    monkeypatch.setattr(precision, "ranges", lambda *_: ({}, {}))
    with pytest.raises(GateError):
        change_precision(folder, precision="int8", data_dir=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["translation"]
    assert manifests.damaged(folder, manifests.read(folder)) == []
    assert manifests.read(folder) == manifests.read(tiny_translation)


@needs_openvino
def test_bfloat16_is_asked_of_the_provider_that_has_it(
    tiny_trained: Trained, tmp_path: Path, allowed: dict[str, Quality]
) -> None:
    folder = tmp_path / "translation"
    before = export_model(tiny_trained, name="translation", target="openvino", folder=folder)
    manifest = change_precision(folder, precision="bfloat16", data_dir=tmp_path)
    encoder, decoder = manifest.graphs["encoder"], manifest.graphs["decoder"]
    assert (encoder.provider, encoder.precision) == ("openvino", "bfloat16")
    assert (decoder.provider, decoder.precision) == ("cpu", "float32")
    assert manifest.version != before.version, "else it would never be installed"
    open_model(folder, task_of("translation"), threads=1)


def test_bfloat16_of_a_provider_that_lacks_it_is_refused(
    tiny_translation: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "translation"
    shutil.copytree(tiny_translation, folder)
    for there, message in ((True, "no graph of target cpu has bfloat16"), (False, "not installed")):
        monkeypatch.setattr(precision, "installed", lambda provider, there=there: there)
        with pytest.raises(GateError, match=message):
            change_precision(folder, precision="bfloat16", data_dir=tmp_path)


@pytest.mark.parametrize(
    ("name", "reached", "passes"),
    [
        ("translation", 29.7, True),
        ("translation", 29.6, False),
        ("translation", 31.0, True),
        ("translation", float("nan"), False),
        ("automatic-speech-recognition", 30.3, True),
        ("automatic-speech-recognition", 30.4, False),
        ("automatic-speech-recognition", 29.0, True),
    ],
)
def test_the_gate_lets_a_model_lose_three_tenths_of_a_point(
    name: str, reached: float, passes: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures = {Path("before"): 30.0, Path("after"): reached}

    async def measured(task: str, data_dir: Path, folder: Path) -> dict[str, float]:
        return {"some": figures[folder]}

    monkeypatch.setattr(gate, "_measured", measured)
    paths = {"reference": Path("before"), "candidate": Path("after")}
    if passes:
        assert compare(name, Path(), **paths)["some"].reached == reached
        return
    with pytest.raises(GateError, match=r"instead of 30\.00; 0\.3 points may be lost") as caught:
        compare(name, Path(), **paths)
    assert MEASURES[name].metric in str(caught.value)


@pytest.mark.data
def test_the_shipped_keyword_model_may_be_int8_but_not_two_bits(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "audio-classification"
    folder = tmp_path / name
    trained = from_published(manifests.SHIPPED / name)
    export_model(trained, name=name, target="cpu", folder=folder)
    with monkeypatch.context() as rough:
        rough.setattr(int8, "INT8_MAX", 1)
        with pytest.raises(GateError, match="audio-classification"):
            change_precision(folder, precision="int8", data_dir=data_dir)
    before = (folder / manifests.WEIGHTS).stat().st_size
    manifest = change_precision(folder, precision="int8", data_dir=data_dir)
    assert (folder / manifests.WEIGHTS).stat().st_size < 0.55 * before
    assert set(manifest.quality) == {"dev"}
