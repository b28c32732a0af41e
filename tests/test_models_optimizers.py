"""Every parameter has one optimizer, and those that multiply activations have Muon."""

import torch
from torch import nn

from models.optimizers import optimizers
from models.recipe import Recipe

RECIPE = Recipe(preset="testing", dataset="stripes", steps=1, learning_rate=0.1)


def test_a_kernel_is_stepped_as_the_matrix_it_is() -> None:
    torch.manual_seed(0)
    kernel, matrix = nn.Conv2d(8, 16, 3, bias=False), nn.Linear(72, 16, bias=False)
    with torch.no_grad():
        matrix.weight.copy_(kernel.weight.flatten(1))
    for _ in range(3):
        patches = torch.randn(5, 8, 3, 3)
        outputs = (kernel(patches).flatten(1), matrix(patches.flatten(1)))
        for model, output in zip((kernel, matrix), outputs, strict=True):
            output.square().sum().backward()
            for stepper in optimizers(model, RECIPE)[:1]:
                stepper.step()
                stepper.zero_grad()
            assert next(model.parameters()).grad is None
    assert torch.allclose(kernel.weight.flatten(1), matrix.weight, atol=1e-5)


def test_every_parameter_moves() -> None:
    model = nn.Sequential(
        nn.Conv2d(1, 2, 2, bias=False), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 2)
    )
    before = [parameter.detach().clone() for parameter in model.parameters()]
    steppers = optimizers(model, RECIPE)
    model(torch.randn(4, 1, 3, 3)).logsumexp(1).sum().backward()
    for stepper in steppers:
        stepper.step()
    assert len(steppers) == 3
    for parameter, old in zip(model.parameters(), before, strict=True):
        assert not torch.equal(parameter, old)
