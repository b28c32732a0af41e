"""Keys and values in int8, and matrices read by blocks, decode as float32 does."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from export import few_rows, quantize
from export.calibrate import MARGIN, calibrate
from export.few_rows import MOST_ROWS
from export.precision import to_int8
from export.publish import seal
from service import manifest as manifests
from service.decoder import decode
from service.manifest import Manifest
from service.search import Search
from service.session import Model, Runner, bound
from service.store import open_model
from service.tasks import task as task_of

TRANSLATION = task_of("translation")
START, STEPS = 2, 8


def sources(rows: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    rng = np.random.default_rng(rows)
    return rng.integers(5, 60, (rows, 9)), rng.integers(3, 10, rows)


def answer(model: Runner, rows: int = 6) -> list[list[int]]:
    source, lengths = sources(rows)
    encoded = model.run("encoder", {"source": source, "source_lengths": lengths})
    searches = [Search([START], -1, STEPS)] * rows
    found = decode(model, encoded | {"source_lengths": lengths}, searches)
    return [hypotheses[0].tokens for hypotheses in found]


@pytest.fixture(scope="module")
def small(tiny_translation: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("int8") / "translation"
    shutil.copytree(tiny_translation, folder)
    exact, _ = open_model(tiny_translation, TRANSLATION, threads=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(quantize, "LEAST_ELEMENTS", 1_024)
        patch.setattr(few_rows, "LEAST_BYTES", 1)
        scales = calibrate(exact, answer)
        seal(folder, to_int8(folder, manifests.read(folder), scales, {}))
    return folder


def nodes_of(folder: Path, file: str) -> list[onnx.NodeProto]:
    return list(onnx.load(folder / file, load_external_data=False).graph.node)


def test_every_key_and_value_is_int8_from_the_encoder_to_the_last_step(small: Path) -> None:
    model, manifest = open_model(small, TRANSLATION, threads=1)
    assert manifest.cache_dtype == "int8"
    for graph in ("encoder", "decoder"):
        handed = {
            name: tensor.dtype
            for name, tensor in model.tensors(graph).items()
            if name.endswith(("_0", "_1"))
        }
        assert len(handed) == (4 if graph == "encoder" else 16)
        assert set(handed.values()) == {"int8"}
    steps = [node for node in nodes_of(small, "decoder.onnx") if "Attention" in node.op_type]
    assert all(len(node.input) == 14 for node in steps)


def test_keys_and_values_are_close_to_what_they_stand_for(
    tiny_translation: Path, small: Path
) -> None:
    exact, _ = open_model(tiny_translation, TRANSLATION, threads=1)
    rounded, _ = open_model(small, TRANSLATION, threads=1)
    source, lengths = sources(6)
    given = {"source": source, "source_lengths": lengths}
    scales = calibrate(exact, answer)
    wanted, found = exact.run("encoder", given), rounded.run("encoder", given)
    for name, array in wanted.items():
        widened = found[name] * scales[name][None, :, None, :]
        assert np.abs(widened - array).max() < 0.05 * np.abs(array).max()


def test_ranges_are_the_largest_of_each_channel_with_a_margin(tiny_translation: Path) -> None:
    exact, _ = open_model(tiny_translation, TRANSLATION, threads=1)
    scales = calibrate(exact, answer)
    assert set(scales) == {
        f"{kind}_{part}_{layer}"
        for kind in ("cross", "past")
        for part in ("key", "value")
        for layer in (0, 1)
    }
    source, lengths = sources(6)
    encoded = exact.run("encoder", {"source": source, "source_lengths": lengths})
    largest = np.abs(encoded["cross_key_0"]).max(axis=(0, 2))
    assert scales["cross_key_0"] == pytest.approx(MARGIN * largest / 127)


def test_decoding_says_what_float32_says(tiny_translation: Path, small: Path) -> None:
    exact, _ = open_model(tiny_translation, TRANSLATION, threads=1)
    rounded, _ = open_model(small, TRANSLATION, threads=1)
    wanted, found = np.array(answer(exact)), np.array(answer(rounded))
    # The model is untrained: a token whose lead is smaller than the rounding may change.
    assert (wanted == found).mean() > 0.8


def test_small_matrices_are_read_the_same_way_for_any_number_of_rows(
    tiny_translation: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quantize, "LEAST_ELEMENTS", 1_024)
    folder = tmp_path / "translation"
    shutil.copytree(tiny_translation, folder)
    assert not to_int8(folder, manifests.read(folder), {}, {}).few


def test_few_rows_and_many_have_the_same_integers(small: Path) -> None:
    model, manifest = open_model(small, TRANSLATION, threads=1)
    entry = manifest.few["decoder"]
    assert entry.rows == MOST_ROWS
    assert any(node.op_type == "MatMulNBits" for node in nodes_of(small, entry.file))
    matrix = np.arange(-64, 64, dtype=np.int8).reshape(2, 64)
    stored: dict[str, Any] = {"m.int8": matrix, "m.scale": np.array([0.5, 2], np.float32)}
    taken = bound(stored, ["m.int8.transposed", "m.int8.blocks32", "m.scale.blocks32"])
    assert np.array_equal(taken["m.int8.transposed"], matrix.T)
    assert taken["m.int8.blocks32"].shape == (2, 2, 32)
    assert np.array_equal(taken["m.int8.blocks32"].reshape(2, 64).astype(int) - 128, matrix)
    assert taken["m.scale.blocks32"].tolist() == [[0.5, 0.5], [2, 2]]
    many = Model(model.name, model.sessions)
    alone = np.array(answer(model, rows=MOST_ROWS))
    assert (alone == np.array(answer(many, rows=MOST_ROWS))).mean() > 0.8


def test_the_cache_dtype_of_the_manifest_is_that_of_the_graphs(small: Path, tmp_path: Path) -> None:
    folder = tmp_path / "translation"
    shutil.copytree(small, folder)
    stated: Manifest = manifests.read(folder).model_copy(update={"cache_dtype": "float32"})
    seal(folder, stated)
    with pytest.raises(Exception, match=r"cross_key_0 is int8, not float32"):
        open_model(folder, TRANSLATION, threads=1)
