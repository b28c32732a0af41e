"""model → its parameters, and the floating-point operations of running it or answering with it."""

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

import models.attention  # noqa: F401  (registers the operators that are counted here)
from models.graph import Graph
from models.reference import Reference
from service.schema import RequestModel
from service.tasks import Task


def parameters(model: nn.Module) -> int:
    return sum(tensor.numel() for tensor in model.parameters())


def operations(model: nn.Module, *inputs: Tensor) -> int:
    """Of one run; products of matrices, convolutions and attention count, the rest does not."""
    counter = FlopCounterMode(display=False)
    with sdpa_kernel(SDPBackend.MATH), counter, torch.no_grad():
        model(*inputs)
    return int(counter.get_total_flops())


def _over(place: int) -> Callable[..., int]:
    """Attention of one query a row to all that an argument holds: its scores, and their sums."""
    return lambda *shapes, **_: 4 * prod(shapes[place])


def flops(task: Task, graphs: Sequence[Graph], assets: Any, request: RequestModel) -> int:
    """Of all runs of the graphs for one request, every decoding step and hypothesis too.

    Products of matrices, convolutions and attention count, the rest does not.
    """
    operators: Any = torch.ops.attendant
    mapping = {operators.attend_cached: _over(1), operators.attend_memory: _over(1)}
    items = task.preprocess(request, assets)
    runner = Reference(graphs)
    # It knows the products that plain attention is made of, and not the one fused for CPUs.
    counter = FlopCounterMode(display=False, custom_mapping=mapping)
    with sdpa_kernel(SDPBackend.MATH), counter:
        task.forward(runner, assets, items)
    return int(counter.get_total_flops())
