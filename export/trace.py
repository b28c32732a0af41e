"""torch module → ONNX graph with named axes, its attention already that of one target."""

import inspect
import logging
import warnings
from collections.abc import Mapping
from typing import Any

import onnx_ir as ir
import torch
from onnxscript import optimizer

from export.lower import Lowering
from export.recurrence import gru
from export.refusal import Refusal
from models import recurrence  # noqa: F401  (registers attendant::gru)
from models.graph import Graph
from service.contract import Tensor, spec_of

OPSET = 23
SMALL_ELEMENTS = 256
"""Constants up to this size are folded: shapes and scalars, but no weight."""


class TraceError(Refusal):
    """The module holds something that cannot be exported."""


def trace(graph: Graph, lowering: Lowering) -> ir.Model:
    """Trace a graph with its first case and lower its attention; raises `TraceError`.

    Weights keep their names and layout, so that another set of weights fits the same graph:
    folding a transposed or split weight into new initializers is left to the runtime.
    """
    inputs = graph.inputs(**graph.cases[0])
    specs = {name: spec_of(name, graph.contract.inputs) for name in inputs}
    with warnings.catch_warnings(), torch.no_grad():
        # torch 2.13 warns of its own pytree calls; and the graph's wrapper is never trained.
        warnings.simplefilter("ignore")
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        try:
            program = torch.onnx.export(
                graph.module.eval(),
                tuple(inputs.values()),
                dynamo=True,
                verbose=False,
                optimize=False,
                opset_version=OPSET,
                input_names=list(inputs),
                output_names=list(graph.outputs),
                dynamic_shapes=_dynamic_shapes(graph, specs),
                custom_translation_table={**lowering.table, torch.ops.attendant.gru.default: gru},
            )
        except torch.onnx.OnnxExporterError as error:
            raise TraceError(
                f"{graph.name} cannot be exported, so change its module: {_root(error)}"
            ) from error
    assert program is not None
    model = program.model
    if model.opset_imports[""] != OPSET:
        # The exporter keeps the opset that it began with where it cannot convert.
        raise TraceError(
            f"{graph.name} cannot be converted from opset {model.opset_imports['']} to {OPSET}: "
            "put OPSET in export/trace.py to one that onnx knows"
        )
    optimizer.optimize_ir(
        model,
        input_size_limit=SMALL_ELEMENTS,
        output_size_limit=SMALL_ELEMENTS,
        should_fold=lambda node: False if node.op_type in ("Transpose", "Split") else None,
    )
    for node in model.graph.all_nodes():
        node.metadata_props.clear()  # stack traces of the tracing
    for value in (*model.graph.inputs, *model.graph.outputs):
        side = {**graph.contract.inputs, **graph.contract.outputs}
        _name_axes(value, spec_of(str(value.name), side))
    return model


def _root(error: BaseException) -> str:
    """The first line of what the exporter's own errors are wrapped around."""
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error).partition("\n")[0]


def _dynamic_shapes(graph: Graph, specs: Mapping[str, Tensor | None]) -> tuple[Any, ...]:
    """Every named axis of the contract may vary."""
    shapes: list[Any] = [
        {
            axis: torch.export.Dim.DYNAMIC
            for axis, name in enumerate(spec.axes if spec else ())
            if isinstance(name, str)
        }
        for spec in specs.values()
    ]
    parameters = list(inspect.signature(graph.module.forward).parameters.values())
    if parameters[-1].kind is inspect.Parameter.VAR_POSITIONAL:
        fixed = len(parameters) - 1
        return (*shapes[:fixed], tuple(shapes[fixed:]))
    return tuple(shapes)


def _name_axes(value: ir.Value, spec: Tensor | None) -> None:
    if spec is None or value.shape is None:
        return
    stated = spec.axes_of(len(value.shape))
    if len(value.shape) != len(stated):
        return  # that it is not what the contract says is found where graphs are checked
    value.shape = ir.Shape(
        [
            name if isinstance(name, str) else size
            for name, size in zip(stated, value.shape, strict=True)
        ]
    )
