"""Folding in an export: it is left out where only without it a changed model passes the gate."""

from pathlib import Path

import pytest

from export import precision
from export.gate import GateError
from export.publish import seal
from service import manifest as manifests
from service.manifest import Data, GraphFile, GraphParity, Manifest, Parity, Quality
from service.speech.assets import FOLDED


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A published model whose precision changes nothing."""
    folder = tmp_path / "model"
    folder.mkdir()
    graphs = {name: GraphFile(file=f"{name}.onnx", weights=[]) for name in ("encoder", FOLDED)}
    for entry in graphs.values():
        (folder / entry.file).touch()
    parity = GraphParity(cases=1, largest_difference=0, attention_ops={})
    manifest = Manifest(
        name="a",
        architecture="whisper",
        config={},
        target="openvino",
        graphs=graphs,
        files={},
        parity=Parity(tolerance=0, graphs=dict.fromkeys(graphs, parity)),
        data=Data(source="none", licence="none"),
        recipe={},
        metrics={},
        revision="",
    )
    seal(folder, manifest)
    monkeypatch.setitem(precision.PRECISIONS, "int8", lambda folder, manifest, data_dir: manifest)
    return folder


def refusing(monkeypatch: pytest.MonkeyPatch, *, whole: bool, folded: bool) -> dict[str, Quality]:
    """A gate that refuses models of these kinds, and else has this to say."""
    quality = {"all": Quality(reference=1, reached=2)}

    def compare(name: str, data_dir: Path, *, reference: Path, candidate: Path) -> object:
        folds = FOLDED in manifests.read(candidate).graphs
        assert folds == (candidate / f"{FOLDED}.onnx").exists()
        if folded if folds else whole:
            raise GateError("worse")
        return quality

    monkeypatch.setattr(precision, "compare", compare)
    return quality


@pytest.mark.parametrize("folded", [False, True])
def test_a_model_folds_where_it_passes_the_gate_so(
    folder: Path, monkeypatch: pytest.MonkeyPatch, folded: bool
) -> None:
    quality = refusing(monkeypatch, whole=False, folded=folded)
    manifest = precision.change_precision(folder, precision="int8", data_dir=Path())
    assert (FOLDED in manifest.graphs) == (not folded)
    assert manifest.quality == quality
    assert manifests.read(folder) == manifest
    assert not manifests.damaged(folder, manifest)


def test_a_model_that_fails_the_gate_both_ways_stays_as_it_was(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusing(monkeypatch, whole=True, folded=True)
    before = manifests.read(folder)
    with pytest.raises(GateError):
        precision.change_precision(folder, precision="int8", data_dir=Path())
    assert manifests.read(folder) == before
    assert (folder / f"{FOLDED}.onnx").exists()
