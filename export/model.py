"""trained model → published folder: trace, lower, check and publish in order."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import nn

from export.parity import ParityError, check
from export.publish import publish, split_weights
from export.source import Trained
from export.targets import TARGETS
from export.trace import trace
from service.manifest import Manifest, Parity
from service.providers import Provider


def round_to_float16(model: nn.Module) -> nn.Module:
    """Give a model the values that float16 storage keeps, so that parity is about the graph."""
    with torch.no_grad():
        for tensor in _tensors(model).values():
            if tensor.is_floating_point():
                tensor.copy_(tensor.half().float())
    return model


def export_model(trained: Trained, *, name: str, target: str, folder: Path) -> Manifest:
    """Export every graph of a trained model into `folder`; raises `ParityError`."""
    of, model = trained.architecture, round_to_float16(trained.model)
    config: Any = model.config
    attentions = of.attentions(config)
    protos: dict[str, onnx.ModelProto] = {}
    weights: dict[str, NDArray[Any]] = {}
    reports = {}
    providers: dict[str, Provider] = {}
    by_address = {tensor.data_ptr(): key for key, tensor in _tensors(model).items()}
    folder.parent.mkdir(parents=True, exist_ok=True)
    for graph in of.graphs(model):
        mapped = TARGETS[target].of(attentions[graph.name])
        lowered = trace(graph, mapped.lowering)
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
                weights=own,
                mapped=mapped,
                attentions=attentions[graph.name],
                tolerance=of.tolerance,
            )
        finally:
            file.unlink()
        protos[graph.name] = proto
        providers[graph.name] = mapped.provider
        clash = [
            key for key in own.keys() & weights.keys() if not np.array_equal(own[key], weights[key])
        ]
        if clash:
            raise ParityError(f"{graph.name}: not the weights of other graphs: {sorted(clash)}")
        weights |= own
    parity = Parity(tolerance=of.tolerance, graphs=reports)
    return publish(
        folder,
        trained,
        name=name,
        target=target,
        graphs=protos,
        providers=providers,
        weights=weights,
        parity=parity,
    )


def _tensors(module: nn.Module) -> Mapping[str, torch.Tensor]:
    return dict(module.named_parameters()) | dict(module.named_buffers())
