"""trained model → published folder: trace, lower, check and publish in order."""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import nn

from export import float16
from export.float16 import in_float16
from export.parity import ParityError, check
from export.publish import publish, split_weights
from export.source import Trained
from export.targets import TARGETS, Mapped
from export.trace import trace
from models.graph import Attentions, Graph
from service.manifest import WEIGHTS, Float16Parity, GraphParity, Manifest, Parity
from service.providers import installed

Weights = dict[str, NDArray[Any]]
FOLDED = "_bias"
"""What the exporter appends to the name of a kernel for the bias that folding gives it."""


def round_to_float16(model: nn.Module) -> nn.Module:
    """Give a model the values that float16 storage keeps, so that parity is about the graph."""
    with torch.no_grad():
        for tensor in _tensors(model).values():
            if tensor.is_floating_point():
                tensor.copy_(tensor.half())
    return model


def export_model(trained: Trained, *, name: str, target: str, folder: Path) -> Manifest:
    """Export every graph of a trained model into `folder`; raises a `Refusal`."""
    of, model = trained.architecture, round_to_float16(trained.model)
    config: Any = model.config
    attentions = of.attentions(config)
    mapped = {graph: TARGETS[target].of(stated) for graph, stated in attentions.items()}
    halved: Any = model
    if any(each.precision == "float16" for each in mapped.values()):
        halved = deepcopy(model).half()
    halves = {graph.name: in_float16(graph) for graph in of.graphs(halved)}
    protos: dict[str, onnx.ModelProto] = {}
    weights: Weights = {}
    reports = {}
    for graph in of.graphs(model):
        wanted = mapped[graph.name]
        checked = partial(
            _checked,
            reference=graph,
            attentions=attentions[graph.name],
            # Imports may be large. Packing alone tells theirs from the session that serves, and
            # that is the runtime's own, and is checked with ours.
            packed=trained.imported is None,
        )
        if wanted.precision == "float16":
            exact = replace(wanted, provider="cpu", precision="float32")
            here = wanted if installed(wanted.provider) else replace(wanted, provider="cpu")
            _, _, report = checked(graph, model, mapped=exact, tolerance=of.tolerance)
            proto, own, rounded = checked(
                halves[graph.name], halved, mapped=here, tolerance=float16.TOLERANCE
            )
            parity = Float16Parity(
                largest_share=rounded.largest_difference,
                tolerance=float16.TOLERANCE,
                provider=here.provider,
            )
            report = report.model_copy(update={"float16": parity})
        else:
            proto, own, report = checked(graph, model, mapped=wanted, tolerance=of.tolerance)
        protos[graph.name], reports[graph.name] = proto, report
        clash = [
            key for key in own.keys() & weights.keys() if not np.array_equal(own[key], weights[key])
        ]
        if clash:
            raise ParityError(f"{graph.name}: not the weights of other graphs: {sorted(clash)}")
        weights |= own
    return publish(
        folder,
        trained,
        name=name,
        target=target,
        graphs=protos,
        mapped=mapped,
        weights=weights,
        parity=Parity(tolerance=of.tolerance, graphs=reports),
    )


def _checked(
    graph: Graph,
    model: nn.Module,
    *,
    reference: Graph,
    mapped: Mapped,
    attentions: Attentions,
    tolerance: float,
    packed: bool,
) -> tuple[onnx.ModelProto, Weights, GraphParity]:
    """Trace a graph and hold it against the reference; returns it without its weights, and them.

    Weights get the names that `model` has for them.
    """
    lowered = trace(graph, mapped.lowering)
    by_address = {tensor.data_ptr(): key for key, tensor in _tensors(model).items()}
    names = {
        key: by_address[tensor.data_ptr()]
        for key, tensor in _tensors(graph.module).items()
        if tensor.data_ptr() in by_address
    }
    # What folding a normalisation into a convolution makes is named after the convolution.
    names |= {f"{key}{FOLDED}": f"{own}{FOLDED}" for key, own in names.items()}
    proto, weights = split_weights(lowered, names)
    with TemporaryDirectory() as folder:
        file = Path(folder, f"{graph.name}.onnx")
        onnx.save(proto, file)
        Path(folder, WEIGHTS).touch()
        report = check(
            reference,
            lowered,
            file=file,
            weights=weights,
            mapped=mapped,
            attentions=attentions,
            tolerance=tolerance,
            packed=packed,
        )
    return proto, weights, report


def _tensors(module: nn.Module) -> Mapping[str, torch.Tensor]:
    return dict(module.named_parameters()) | dict(module.named_buffers())
