"""architecture, trained module → published folder: trace, lower, check and publish in order."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnx
import torch
from torch import nn

from export.parity import check
from export.publish import publish, split_weights
from export.trace import trace
from models.catalogue import Architecture
from service.manifest import Data, Manifest, Package, Parity
from service.session import Arrays


def round_to_float16(model: nn.Module) -> nn.Module:
    """Give a model the values that float16 storage keeps, so that parity is about the graph."""
    with torch.no_grad():
        for tensor in _tensors(model).values():
            if tensor.is_floating_point():
                tensor.copy_(tensor.half().float())
    return model


def export_model(
    of: Architecture,
    model: Any,
    *,
    name: str,
    target: str,
    config: dict[str, Any],
    assets: Path,
    data: Data,
    recipe: dict[str, Any],
    folder: Path,
    package: Package | None = None,
) -> Manifest:
    """Export every graph of a trained model into `folder`; raises `ParityError`."""
    round_to_float16(model)
    expected = of.expected_fusions(model.config)[target]
    protos: dict[str, onnx.ModelProto] = {}
    weights: dict[str, Any] = {}
    reports = {}
    by_address = {tensor.data_ptr(): key for key, tensor in _tensors(model).items()}
    folder.parent.mkdir(parents=True, exist_ok=True)
    for graph in of.graphs(model):
        lowered = trace(graph, target=target)
        names = {
            key: by_address[tensor.data_ptr()]
            for key, tensor in _tensors(graph.module).items()
            if tensor.data_ptr() in by_address
        }
        proto, own = split_weights(lowered, names)
        file = folder.parent / f".{name}.{graph.name}.onnx"
        onnx.save(proto, file)
        try:
            reports[graph.name] = check(
                graph,
                lowered,
                file=file,
                weights=_widened(own),
                target=target,
                expected=expected[graph.name],
                tolerance=of.tolerance,
            )
        finally:
            file.unlink()
        protos[graph.name] = proto
        weights |= own
    return publish(
        folder,
        name=name,
        architecture=of.name,
        config=config,
        target=target,
        graphs=protos,
        weights=weights,
        assets=assets,
        parity=Parity(tolerance=of.tolerance, graphs=reports),
        data=data,
        recipe=recipe,
        package=package,
    )


def _tensors(module: nn.Module) -> Mapping[str, torch.Tensor]:
    return dict(module.named_parameters()) | dict(module.named_buffers())


def _widened(weights: Arrays) -> Arrays:
    return {
        key: array.astype("float16").astype("float32") if array.dtype == "float32" else array
        for key, array in weights.items()
    }
