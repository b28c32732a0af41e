"""graph of a float16 module → what is traced: its caches are float16, the task's tensors not."""

from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor, nn

from models.graph import Graph
from service.contract import spec_of

TOLERANCE = 0.01
"""Largest difference, as a share of an output's largest value, that rounding may explain: ten units
in the last place."""


class _Between(nn.Module):
    """Casts where the task's tensors come in and go out."""

    def __init__(self, module: nn.Module, widened: Sequence[bool]) -> None:
        super().__init__()
        self.module = module
        self.widened = widened

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        out = self.module(*(x.half() if x.is_floating_point() else x for x in inputs))
        outputs = out if isinstance(out, tuple) else (out,)
        return tuple(
            x.float() if widen and x.is_floating_point() else x
            for x, widen in zip(outputs, self.widened, strict=True)
        )


def in_float16(graph: Graph) -> Graph:
    """A graph whose module is in float16, with its casts and with caches that need none."""

    def cached(name: str) -> bool:
        spec = spec_of(name, {**graph.contract.inputs, **graph.contract.outputs})
        return spec is not None and spec.cached

    def inputs(**case: int) -> dict[str, Tensor]:
        return {
            name: tensor.half() if cached(name) else tensor
            for name, tensor in graph.inputs(**case).items()
        }

    module = _Between(graph.module, [not cached(name) for name in graph.outputs])
    return replace(graph, module=module, inputs=inputs)
