"""Target `cuda` is float16 within and float32 at the task, and says by what it was checked.

Without a GPU the plain CPU runs the same graphs. It has a float16 kernel of GroupQueryAttention;
around operators that it has none of, ONNX Runtime puts casts and computes them in float32.
"""

import json
import logging
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest

from export.model import export_model
from export.source import Trained
from service import manifest as manifests
from service.decoder import decode
from service.manifest import Manifest
from service.providers import installed
from service.search import Search
from service.session import Model
from service.store import BrokenModel, open_model
from service.tasks import task as task_of

TRANSLATION = task_of("translation")
START, STEPS = 2, 6
on_gpu = [
    pytest.mark.gpu,
    pytest.mark.skipif(not installed("cuda"), reason="onnxruntime-gpu is not installed"),
]


@pytest.fixture(scope="module")
def published(tiny_trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cuda") / "translation"
    export_model(tiny_trained, name="translation", target="cuda", folder=folder)
    return folder


def types_of(folder: Path, graph: str) -> tuple[onnx.GraphProto, dict[str, int]]:
    """A graph, and the element type of each of its tensors that is known without running it."""
    proto = onnx.load(folder / f"{graph}.onnx", load_external_data=False)
    inferred = onnx.shape_inference.infer_shapes(proto, check_type=True, strict_mode=True).graph
    known = (*inferred.input, *inferred.output, *inferred.value_info)
    types = {value.name: value.type.tensor_type.elem_type for value in known}
    return inferred, types | {each.name: each.data_type for each in inferred.initializer}


@pytest.mark.parametrize(
    ("graph", "counts"),
    [
        ("encoder", {"MultiHeadAttention": 2}),
        ("decoder", {"GroupQueryAttention": 4}),
    ],
)
def test_weights_activations_and_caches_are_float16_and_the_rest_is_the_contracts(
    published: Path, graph: str, counts: dict[str, int]
) -> None:
    proto, types = types_of(published, graph)
    for side in (proto.input, proto.output):
        for value in side:
            cached = value.name.startswith(
                ("cross_", "past_key", "past_value", "kept_", "present_")
            )
            integer = value.name in ("source", "source_lengths", "tokens", "past_lengths")
            expected = onnx.TensorProto.FLOAT16 if cached else onnx.TensorProto.FLOAT
            assert types[value.name] == (onnx.TensorProto.INT64 if integer else expected)
    attentions = [node for node in proto.node if node.op_type in counts]
    assert {op: sum(node.op_type == op for node in attentions) for op in counts} == counts
    for node in (*attentions, *(node for node in proto.node if node.op_type == "MatMul")):
        for name in node.input[:2]:
            assert types.get(name, onnx.TensorProto.FLOAT16) == onnx.TensorProto.FLOAT16, node
    assert all(each.data_type != onnx.TensorProto.FLOAT for each in proto.initializer)


def test_the_manifest_says_what_was_checked_in_which_precision_and_on_what(published: Path) -> None:
    manifest = manifests.read(published)
    assert manifest.cache_dtype == "float16"
    for name, graph in manifest.graphs.items():
        assert (graph.provider, graph.precision) == ("cuda", "float16")
        report = manifest.parity.graphs[name]
        assert report.largest_difference <= manifest.parity.tolerance
        assert report.float16 is not None
        assert 1e-5 < report.float16.largest_share <= report.float16.tolerance
        assert report.float16.provider == ("cuda" if installed("cuda") else "cpu")
    assert "parity in float16" in (published / "MODEL_CARD.md").read_text()


def greedy(model: Model) -> list[int]:
    """A few tokens, over caches that are written in place."""
    source = np.array([[7, 9, 30, 11, 1]])
    given = {"source_lengths": np.array([source.shape[1]])}
    memory = model.run("encoder", given | {"source": source})
    ((best, *_),) = decode(model, memory | given, [Search([START], -1, STEPS)])
    return best.tokens


def test_decoding_over_float16_caches_says_what_float32_says(
    published: Path, tiny_translation: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, logger="attendant"):
        halved, _ = open_model(published, TRANSLATION, threads=1)
    assert ("cuda is not installed; the plain CPU runs it" in caplog.text) != installed("cuda")
    exact, _ = open_model(tiny_translation, TRANSLATION, threads=1)
    assert greedy(halved) == greedy(exact)


def test_caches_of_another_dtype_than_the_manifest_states_are_refused(
    published: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "translation"
    shutil.copytree(published, folder)
    stated: Manifest = manifests.read(folder).model_copy(update={"cache_dtype": "float32"})
    (folder / manifests.NAME).write_text(json.dumps(stated.model_dump()))
    with pytest.raises(BrokenModel, match=r"cross_key_0 is float16, not float32"):
        open_model(folder, TRANSLATION, threads=1)


@pytest.mark.parametrize(
    "graph", [pytest.param(name, marks=on_gpu) for name in ("encoder", "decoder")]
)
def test_a_gpu_runs_the_graph_and_agrees(published: Path, graph: str) -> None:
    report = manifests.read(published).parity.graphs[graph].float16
    assert report is not None
    assert report.provider == "cuda"
    model, _ = open_model(published, TRANSLATION, threads=1)
    assert model.sessions[graph].provider == "cuda"
