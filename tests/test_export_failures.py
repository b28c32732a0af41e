"""What cannot be published is refused in a sentence that says what to do, and leaves nothing."""

import errno
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import onnx
import onnx_ir as ir
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from typer.testing import CliRunner

from export import __main__ as command
from export import contrib_attention
from export import model as exporting
from export import publish as publishing
from export import trace as tracing
from export.model import export_model
from export.parity import ParityError, check
from export.publish import split_weights
from export.source import Trained
from export.targets import Mapped
from export.trace import TraceError, trace
from models import checkpoint
from models.attention import attend
from models.graph import Attentions, Graph
from service import manifest as manifests
from service import store
from service.contract import Graph as Contract
from service.contract import Tensor as Spec
from service.manifest import GraphParity
from service.store import BrokenModel, open_model
from service.tasks import task as task_of

LOWERING = contrib_attention.LOWERING
WIDTH = 8


class Projected(nn.Module):
    """A function of a projection, so that a graph has weights."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function
        self.project = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self.project(x))


def graph_of(function: Callable[[Tensor], Tensor], dtype: torch.dtype = torch.float32) -> Graph:
    name = str(dtype).removeprefix("torch.")
    return Graph(
        name="model",
        module=Projected(function).to(dtype),
        contract=Contract(
            inputs={"x": Spec(name, ("batch", "len", WIDTH))},
            outputs={"y": Spec(name, ("batch", None, None, None))},
        ),
        outputs=["y"],
        inputs=lambda batch: {"x": torch.randn(batch, 5, WIDTH, dtype=dtype)},
        cases=[{"batch": 2}],
    )


def heads(x: Tensor) -> Tensor:
    return x.unflatten(-1, (2, WIDTH // 2)).transpose(1, 2)


def attended(x: Tensor) -> Tensor:
    return attend(heads(x), heads(x), heads(x))


@pytest.mark.parametrize(
    ("function", "why"),
    [
        (lambda x: torch.linalg.eigvalsh(x @ x.mT), "aten._linalg_eigh"),
        (
            lambda x: functional.scaled_dot_product_attention(
                heads(x), heads(x), heads(x), dropout_p=0.1
            ),
            "drop nothing in evaluation mode",
        ),
        (
            lambda x: functional.scaled_dot_product_attention(
                heads(x), heads(x)[:, :1], heads(x)[:, :1], enable_gqa=True
            ),
            "repeat the heads before they attend",
        ),
    ],
    ids=["operator", "dropout", "shared heads"],
)
def test_what_cannot_be_exported_is_named_in_one_line(
    function: Callable[[Tensor], Tensor], why: str
) -> None:
    with pytest.raises(
        TraceError, match="model cannot be exported, so change its module"
    ) as caught:
        trace(graph_of(function), LOWERING)
    assert why in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_opset_that_no_converter_knows_is_not_taken_for_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tracing, "OPSET", 99)
    with pytest.raises(TraceError, match=r"from opset \d+ to 99: put OPSET in export/trace\.py"):
        trace(graph_of(attended), LOWERING)


def checked(
    graph: Graph, folder: Path, change: Callable[[onnx.ModelProto], object] = lambda proto: None
) -> GraphParity:
    lowered = trace(graph, LOWERING)
    proto, weights = split_weights(lowered, {})
    change(proto)
    onnx.save(proto, folder / "model.onnx")
    return check(
        graph,
        lowered,
        file=folder / "model.onnx",
        weights=weights,
        mapped=Mapped(LOWERING),
        attentions=Attentions(whole=1),
        tolerance=1e-4,
    )


def stamp(proto: onnx.ModelProto) -> None:
    proto.opset_import[0].version = 99


def test_an_opset_that_the_runtime_lacks_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ParityError, match=r"does not open the graph on cpu; .*Opset 99"):
        checked(graph_of(attended), tmp_path, stamp)


def test_a_dtype_that_the_runtime_lacks_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ParityError, match=r"does not open the graph on cpu; .*tensor\(double\)"):
        checked(graph_of(attended, torch.float64), tmp_path)


def test_a_graph_that_no_task_could_feed_is_refused(tmp_path: Path) -> None:
    graph = graph_of(attended)
    other = Contract(inputs=graph.contract.inputs, outputs={"y": Spec("int64", ("batch",))})
    with pytest.raises(ParityError, match="the task's contract says: y is float32"):
        checked(replace(graph, contract=other), tmp_path)


def test_a_graph_without_attention_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ParityError, match=r"attention ops none, .*'MultiHeadAttention': 1"):
        checked(graph_of(heads), tmp_path)


@pytest.fixture
def run(finished_run: Path, tmp_path: Path) -> Path:
    return shutil.copytree(finished_run, tmp_path / "run")


def exported(run: Path, out: Path, *more: str) -> str:
    """What the command prints when it refuses; the paths in it are wrapped by no terminal."""
    options = ["model", "translation", "--run-dir", str(run), "--out", str(out), *more]
    result = CliRunner().invoke(command.app, options)
    assert result.exit_code == 1, (result.output, result.exception)
    return result.output


def test_the_command_says_why_exits_with_1_and_leaves_nothing(run: Path, tmp_path: Path) -> None:
    (run / checkpoint.NAME).write_bytes(b"")
    said = exported(run, tmp_path / "out")
    assert said.startswith("not published: ")
    assert "is damaged or cut off" in said
    assert list(tmp_path.glob("out/*")) == list(tmp_path.glob("out/.*")) == []
    assert store.newest("translation") is None


def test_a_model_answers_the_task_that_is_stated(run: Path, tmp_path: Path) -> None:
    options = ["model", "mine", "--run-dir", str(run), "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(command.app, [*options, "--task", "translation"])
    assert result.exit_code == 0, result.output
    manifest = manifests.read(tmp_path / "out" / "mine")
    assert (manifest.name, manifest.answers) == ("mine", "translation")
    unknown = CliRunner().invoke(command.app, [*options, "--task", "cooking"])
    assert unknown.exit_code == 2


def empty(graph: Graph, lowering: object) -> ir.Model:
    return ir.from_proto(onnx.helper.make_model(onnx.helper.make_graph([], "nothing", [], [])))


def test_what_was_published_before_outlives_a_refusal(
    run: Path, tmp_path: Path, tiny_translation: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    shutil.copytree(tiny_translation, out / "translation")
    monkeypatch.setattr(exporting, "trace", empty)
    assert "attention ops none" in exported(run, out)
    assert [path.name for path in out.iterdir()] == ["translation"]
    assert manifests.read(out / "translation") == manifests.read(tiny_translation)
    assert store.newest("translation") is None


def test_float16_is_no_choice_for_a_target_that_always_has_it(run: Path) -> None:
    options = ["model", "translation", "--target", "cuda", "--precision", "int8"]
    options += ["--run-dir", str(run)]
    result = CliRunner().invoke(command.app, options)
    assert result.exit_code == 2
    assert "leave --precision out" in " ".join(result.output.replace("│", "").split())


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 128 KiB, which holds the graphs and not the weights."""
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", str(disk)]
    if os.geteuid() != 0 or subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("only root can mount a small disk")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk_leaves_nothing_on_it(
    run: Path, full_disk: Path, tiny_trained: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "from_run", lambda run_dir: tiny_trained)
    said = exported(run, full_disk)
    assert "No space left on device: free some, or choose another disk with --out" in said
    assert list(full_disk.iterdir()) == []
    assert store.newest("translation") is None


def fail(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("writer", ["save_weights", "seal"])
def test_a_disk_that_fills_up_at_the_end_leaves_the_model_before(
    writer: str,
    tiny_trained: Trained,
    tiny_translation: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = tmp_path / "translation"
    shutil.copytree(tiny_translation, folder)
    same = GraphParity(cases=1, largest_difference=0, attention_ops={})
    monkeypatch.setattr(exporting, "trace", empty)
    monkeypatch.setattr(exporting, "check", lambda *_, **__: same)
    monkeypatch.setattr(publishing, writer, fail)
    with pytest.raises(OSError, match="No space left"):
        export_model(tiny_trained, name="translation", target="cpu", folder=folder)
    assert [path.name for path in tmp_path.iterdir()] == ["translation"]
    assert manifests.damaged(folder, manifests.read(folder)) == []


def test_a_full_store_is_said_and_holds_no_half_of_a_model(
    run: Path, tmp_path: Path, tiny_translation: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def publish(*_: object, folder: Path, **__: object) -> manifests.Manifest:
        shutil.copytree(tiny_translation, folder, dirs_exist_ok=True)
        return manifests.read(folder)

    monkeypatch.setattr(command, "export_model", publish)
    copytree = shutil.copytree
    monkeypatch.setattr(
        shutil,
        "copytree",
        lambda source, to, **o: fail() if "bentoml" in str(to) else copytree(source, to, **o),
    )
    said = exported(run, tmp_path / "out")
    assert "not in the store: " in said
    assert "BENTOML_HOME" in said
    assert store.newest("translation") is None
    assert (tmp_path / "out" / "translation" / manifests.NAME).exists()


def test_serving_a_graph_that_the_runtime_lacks_names_model_and_file(
    tiny_translation: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "translation"
    shutil.copytree(tiny_translation, folder)
    proto = onnx.load(folder / "encoder.onnx", load_external_data=False)
    stamp(proto)
    onnx.save(proto, folder / "encoder.onnx")
    task = task_of("translation")
    with pytest.raises(BrokenModel, match=r"encoder\.onnx is changed; put it in the store again"):
        open_model(folder, task, threads=1)
    publishing.seal(folder, manifests.read(folder))
    with pytest.raises(BrokenModel, match=r"translation:\w{12}: encoder\.onnx: .*Opset 99"):
        open_model(folder, task, threads=1)


def test_a_model_with_a_graph_that_its_task_does_not_know_is_refused_by_its_name(
    tiny_translation: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "translation"
    shutil.copytree(tiny_translation, folder)
    manifest = manifests.read(folder)
    other = manifest.model_copy(
        update={"graphs": {**manifest.graphs, "steps": manifest.graphs["encoder"]}}
    )
    (folder / manifests.NAME).write_text(other.model_dump_json(), encoding="utf-8")
    with pytest.raises(BrokenModel, match="steps: not a graph of translation"):
        open_model(folder, task_of("translation"), threads=1)
