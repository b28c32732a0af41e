"""Positions that are turned or solved are exported as those that are added: equal, and counted."""

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch

from export.model import export_model
from export.source import Trained
from models.catalogue import architecture
from service.manifest import Data


@cache
def tiny_model(way: str) -> Trained:
    of = architecture("transformer")
    of = replace(of, graphs=cache(of.graphs))  # the same modules, to be captured once
    torch.manual_seed(0)
    model = of.build(replace(of.presets["testing"], positions=way)).eval()
    return Trained(of, model, assets=[], data=Data(source="none", licence="none"), recipe={})


def exported(way: str, target: str, folder: Path) -> Any:
    return export_model(tiny_model(way), name="tiny", target=target, folder=folder)


@pytest.mark.parametrize("way", ["rotary", "floater"])
@pytest.mark.parametrize("target", ["cuda", "onnx"])
def test_it_is_lowered_for_each_target(way: str, target: str, tmp_path: Path) -> None:
    manifest = exported(way, target, tmp_path / "tiny")
    ops = {name: graph.attention_ops for name, graph in manifest.parity.graphs.items()}
    wanted: dict[str, dict[str, int]] = {
        "cuda": {"encoder": {"MultiHeadAttention": 2}, "decoder": {"GroupQueryAttention": 4}},
        "onnx": {"encoder": {"Attention": 2}, "decoder": {"Attention": 4}},
    }[target]
    assert {name: ops[name] for name in wanted} == wanted
    assert set(ops) == {*wanted, "attention"}


def test_of_a_curve_its_points_are_exported_and_not_the_equation(tmp_path: Path) -> None:
    manifest = exported("floater", "cpu", tmp_path / "tiny")
    assert "source_points" in manifest.graphs["encoder"].weights
    assert "target_points" in manifest.graphs["decoder"].weights
    for graph in manifest.graphs.values():
        proto = onnx.load(tmp_path / "tiny" / graph.file, load_external_data=False)
        assert not [node.op_type for node in proto.graph.node if node.op_type == "Tanh"]
        assert not [name for name in graph.weights if "curve" in name]
