"""Every architecture exports, and what does not equal the trained model is not published."""

import re
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import torch

from export import contrib_attention, parity
from export import model as exporting
from export.model import export_model, round_to_float16
from export.parity import ParityError, check
from export.publish import publish, split_weights
from export.source import Trained
from export.targets import TARGETS, Mapped
from export.trace import trace
from models.catalogue import architecture, architecture_names
from models.graph import Attentions, Graph
from service.contract import Arrays
from service.manifest import Data, GraphParity, Parity
from service.providers import installed

LOWERING = contrib_attention.LOWERING
TWO = Attentions(whole=2)


def tiny_model(name: str) -> Trained:
    of = architecture(name)
    of = replace(of, graphs=cache(of.graphs))  # the same modules, to be captured once
    torch.manual_seed(0)
    model = of.build(of.presets["testing"]).eval()
    return Trained(of, model, assets=[], data=Data(source="none", licence="none"), recipe={})


# What `cpu` exports is traced and checked on the way to `cuda`, too.
CHECKED = ["onnx", "cuda", "openvino"]


@pytest.mark.parametrize("name", architecture_names())
def test_an_architecture_exports_to_each_target_with_the_attention_it_states(
    name: str, tmp_path: Path, subtests: pytest.Subtests
) -> None:
    trained = tiny_model(name)
    for target in CHECKED:
        with subtests.test(target=target):
            if target == "openvino" and not installed(target):
                pytest.skip("its package is not here")
            exports_to(target, trained, tmp_path / target)


def exports_to(target: str, trained: Trained, folder: Path) -> None:
    manifest = export_model(trained, name="tiny", target=target, folder=folder)
    config: Any = trained.model.config
    for graph_name, attentions in trained.architecture.attentions(config).items():
        counted = manifest.parity.graphs[graph_name].attention_ops
        assert counted == TARGETS[target].of(attentions).lowering.expected(attentions)
    for graph in trained.architecture.graphs(trained.model):
        report = manifest.parity.graphs[graph.name]
        assert report.cases == len(graph.cases)
        assert report.largest_difference <= trained.architecture.tolerance
    for file, digest in manifest.files.items():
        assert (folder / file).exists()
        assert re.fullmatch("[0-9a-f]{64}", digest)


class Exported:
    """The encoder of a small Transformer, traced once."""

    def __init__(self, folder: Path) -> None:
        trained = tiny_model("transformer")
        self.graph: Graph = trained.architecture.graphs(round_to_float16(trained.model))[0]
        self.lowered = trace(self.graph, LOWERING)
        proto, self.weights = split_weights(self.lowered, {})
        self.file = folder / "encoder.onnx"
        onnx.save(proto, self.file)

    def check(
        self,
        *,
        graph: Graph | None = None,
        weights: Arrays | None = None,
        attentions: Attentions = TWO,
        tolerance: float = 1e-4,
    ) -> GraphParity:
        return check(
            graph or self.graph,
            self.lowered,
            file=self.file,
            weights=self.weights if weights is None else weights,
            mapped=Mapped(LOWERING),
            attentions=attentions,
            tolerance=tolerance,
        )


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    return Exported(tmp_path_factory.mktemp("traced"))


def test_every_target_is_exported_to_here() -> None:
    assert set(TARGETS) == {"cpu", "onnx", "cuda", "openvino"}


def test_a_faithful_graph_passes_on_all_its_cases(exported: Exported) -> None:
    report = exported.check()
    assert report.cases == len(exported.graph.cases)
    assert 0 < report.largest_difference < 1e-4


@pytest.mark.parametrize("attentions", [Attentions(3), Attentions(2, 1), Attentions(0)])
def test_another_count_of_attention_ops_stops_with_both_counts(
    exported: Exported, attentions: Attentions
) -> None:
    with pytest.raises(ParityError) as caught:
        exported.check(attentions=attentions)
    message = str(caught.value)
    assert message.startswith("encoder: attention ops")
    assert str({"MultiHeadAttention": 2}) in message
    assert str(dict(LOWERING.expected(attentions))) in message


def test_a_provider_that_is_not_installed_cannot_pass(
    exported: Exported, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parity, "installed", lambda provider: False)
    with pytest.raises(ParityError, match="cpu is not installed"):
        exported.check()


def changed(weights: Arrays, value: float) -> dict[str, Any]:
    """The weights with one number of one matrix put to `value`."""
    name = next(key for key, array in weights.items() if array.ndim == 2 and "query" in key)
    array = weights[name].copy()
    array[0, 0] = value
    return {**weights, name: array}


def test_one_wrong_weight_stops_with_output_difference_and_case(exported: Exported) -> None:
    with pytest.raises(ParityError) as caught:
        exported.check(weights=changed(exported.weights, 3.0))
    message = str(caught.value)
    found = re.fullmatch(
        r"encoder: output (cross_\w+) differs by (\S+) at \((\d+(?:, )?)+\) in case (\{.*\}); "
        r"the tolerance is 0\.0001",
        message,
    )
    assert found, message
    assert found[1] in exported.graph.outputs
    assert float(found[2]) > 1e-4
    assert found[4] in [str(dict(case)) for case in exported.graph.cases]


def test_a_difference_that_is_not_a_number_stops_too(exported: Exported) -> None:
    with pytest.raises(ParityError, match="differs by nan"):
        exported.check(weights=changed(exported.weights, np.nan))


def test_what_has_no_meaning_is_not_compared(exported: Exported) -> None:
    meaningless = replace(exported.graph, defined=lambda inputs, output: torch.tensor(False))
    weights = changed(exported.weights, 3.0)
    assert exported.check(graph=meaningless, weights=weights).largest_difference == 0


def test_a_failed_check_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def different(*_: Any, **__: Any) -> GraphParity:
        raise ParityError("encoder: differs")

    monkeypatch.setattr(exporting, "check", different)
    monkeypatch.setattr(exporting, "trace", lambda graph, lowering: ir.from_proto(empty_graph()))
    with pytest.raises(ParityError):
        export_model(tiny_model("transformer"), name="tiny", target="cpu", folder=tmp_path / "tiny")
    assert list(tmp_path.iterdir()) == []


def empty_graph() -> onnx.ModelProto:
    graph = onnx.helper.make_graph([], "nothing", [], [])
    return onnx.helper.make_model(graph)


def test_nothing_is_published_without_a_report_for_each_graph(tmp_path: Path) -> None:
    report = GraphParity(cases=1, largest_difference=0.0, attention_ops={})
    with pytest.raises(ValueError, match=r"parity covers \['encoder'\], not \['decoder', 'enc"):
        publish(
            tmp_path / "tiny",
            tiny_model("transformer"),
            name="tiny",
            target="cpu",
            graphs={"encoder": empty_graph(), "decoder": empty_graph()},
            mapped={"encoder": Mapped(LOWERING), "decoder": Mapped(LOWERING)},
            weights={},
            parity=Parity(tolerance=1e-4, graphs={"encoder": report}),
        )
    assert not (tmp_path / "tiny").exists()


def test_large_weights_lie_outside_of_the_graph_under_their_names(exported: Exported) -> None:
    held = {name for name, _ in exported.graph.module.named_parameters()}
    assert set(exported.weights) <= held | {name for name in exported.weights if "position" in name}
    assert exported.file.stat().st_size < 100_000
