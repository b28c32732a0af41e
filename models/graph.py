"""trained module → what is exported: one graph with named inputs, outputs and parity cases."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from service.contract import Graph as Contract


@dataclass(frozen=True)
class Graph:
    """One graph of an architecture.

    `module` is called with the inputs in the order of `inputs(...)` and returns one tensor or a
    tuple in the order of `outputs`. `inputs(**case)` makes random inputs; the first case is traced,
    and the exported graph must agree with the module on all of them.
    """

    name: str
    module: nn.Module
    contract: Contract
    outputs: Sequence[str]
    inputs: Callable[..., dict[str, Tensor]]
    cases: Sequence[Mapping[str, int]]
