"""model → its optimizers: Muon for what multiplies activations and AdamW for the rest, or AdamW."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from models.recipe import Recipe


class KernelMuon(torch.optim.Muon):
    """Muon on convolution kernels, each seen as a matrix of [channels out, all that it reads]."""

    def __init__(self, kernels: list[nn.Parameter], **options: Any) -> None:
        self.kernels = kernels
        super().__init__(
            [nn.Parameter(kernel.detach().flatten(1)) for kernel in kernels], **options
        )

    def step(self, closure: Any = None) -> Any:
        for kernel, matrix in zip(self.kernels, self.param_groups[0]["params"], strict=True):
            matrix.grad = None if kernel.grad is None else kernel.grad.flatten(1)
        return super().step(closure)  # type: ignore[no-untyped-call]

    def zero_grad(self, set_to_none: bool = True) -> None:
        super().zero_grad(set_to_none)
        for kernel in self.kernels:
            kernel.grad = None


def optimizers(model: nn.Module, recipe: Recipe) -> list[torch.optim.Optimizer]:
    """Muon for the hidden matrices and kernels (Jordan et al. 2024), AdamW for everything else.

    Or AdamW alone, if the recipe says so.
    """
    if recipe.optimizer == "adamw":
        decay = recipe.weight_decay
        return [torch.optim.AdamW(model.parameters(), lr=recipe.learning_rate, weight_decay=decay)]
    matrices: list[nn.Parameter] = []
    kernels: list[nn.Parameter] = []
    rest: list[nn.Parameter] = []
    for module in model.modules():
        for parameter in module.parameters(recurse=False):
            if parameter.ndim == 2 and isinstance(module, nn.Linear):
                matrices.append(parameter)
            elif parameter.ndim == 4 and isinstance(module, nn.Conv2d):
                kernels.append(parameter)
            else:
                rest.append(parameter)
    muon: dict[str, Any] = {
        "lr": recipe.learning_rate,
        "weight_decay": recipe.weight_decay,
        "adjust_lr_fn": "match_rms_adamw",
    }
    adam: dict[str, Any] = {"lr": recipe.learning_rate, "betas": (0.9, 0.98), "weight_decay": 0.0}
    found: list[tuple[Callable[..., torch.optim.Optimizer], list[nn.Parameter], dict[str, Any]]] = [
        (torch.optim.Muon, matrices, muon),
        (KernelMuon, kernels, muon),
        (torch.optim.AdamW, rest, adam | {"fused": True}),
    ]
    return [make(parameters, **options) for make, parameters, options in found if parameters]
