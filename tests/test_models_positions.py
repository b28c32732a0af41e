"""Positions: each way of telling them keeps its promise, and decodes as it was trained."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from models.architectures import transformer
from models.architectures.transformer import PRESETS, Config, Transformer
from models.positions import INTERVAL, Curve, rotate, rotation
from models.reference import Reference

TESTING = PRESETS["testing"]
WAYS = ("sinusoidal", "learned", "relative", "rotary", "floater")


def random_model(way: str) -> Transformer:
    torch.manual_seed(3)
    config: Config = replace(TESTING, positions=way)  # type: ignore[arg-type]
    return transformer.build(config).eval()


def random_tokens(*shape: int) -> Tensor:
    return torch.randint(TESTING.vocab, shape)


def test_products_of_rotated_vectors_tell_only_how_far_apart_they_are() -> None:
    query, key = torch.randn(1, 1, 8), torch.randn(1, 1, 8)

    def product(first: int, second: int) -> Tensor:
        turned = (
            rotate(x, rotation(torch.tensor([[at]]), 8))
            for x, at in ((query, first), (key, second))
        )
        return torch.stack(list(turned)).prod(dim=0).sum()

    torch.testing.assert_close(product(7, 3), product(104, 100), atol=1e-4, rtol=1e-4)
    assert (product(7, 3) - product(7, 4)).abs() > 1e-3


def test_a_rotation_turns_each_head_alike_and_keeps_lengths() -> None:
    x = torch.randn(2, 5, 4).repeat(1, 1, 3)
    turned = rotate(x, rotation(torch.arange(5)[None], 4))
    torch.testing.assert_close(turned.norm(dim=-1), x.norm(dim=-1))
    first, second, third = turned.chunk(3, dim=-1)
    torch.testing.assert_close(first, second)
    torch.testing.assert_close(second, third)
    torch.testing.assert_close(turned[:, 0], x[:, 0])


def test_angles_fall_from_one_as_in_the_paper() -> None:
    cos, sin = rotation(torch.tensor([[3]]), 6)
    angles = [3 * 10_000 ** (-2 * i / 6) for i in range(3)] * 2
    torch.testing.assert_close(cos[0, 0], torch.tensor([math.cos(each) for each in angles]))
    torch.testing.assert_close(sin[0, 0], torch.tensor([math.sin(each) for each in angles]))


def test_a_curve_follows_its_differential_equation() -> None:
    """dp/dt = -tanh(p), whose solution is asinh(exp(-t) sinh(p(0)))."""
    curve = Curve(layers=2, width=3)
    with torch.no_grad():
        curve.inward.weight.copy_(torch.eye(3, 4))
        curve.outward.weight.copy_(-torch.eye(3))
        curve.inward.bias.zero_()
        curve.outward.bias.zero_()
        points = curve(30)
    times = INTERVAL * torch.arange(30.0)[None, :, None]
    wanted = torch.asinh(torch.exp(-times) * torch.sinh(curve.start[:, None].detach()))
    torch.testing.assert_close(points, wanted, atol=1e-6, rtol=1e-5)


def test_a_curve_knows_the_time() -> None:
    """dp/dt = tanh(t), whose solution is log(cosh(t)) behind p(0)."""
    curve = Curve(layers=1, width=1)
    with torch.no_grad():
        curve.inward.weight.copy_(torch.tensor([[0.0, 1.0]]))
        curve.outward.weight.fill_(1)
        curve.inward.bias.zero_()
        curve.outward.bias.zero_()
        points = curve(20) - curve.start
    times = INTERVAL * torch.arange(20.0)[None, :, None]
    torch.testing.assert_close(points, times.cosh().log(), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("way", WAYS)
@torch.inference_mode()
def test_steps_give_the_logits_of_the_teacher_forced_forward(way: str) -> None:
    model = random_model(way)
    source, target = random_tokens(3, 9), random_tokens(3, 6)
    lengths = torch.tensor([9, 1, 5])
    expected = model(source, lengths, target)
    memories = model.encode(source, lengths)
    shape = (3, TESTING.heads, 8, TESTING.width // TESTING.heads)
    caches = [(torch.randn(shape), torch.randn(shape)) for _ in model.decoder]
    for t in range(6):
        past = torch.tensor([t] * 3)
        logits, _, caches = model.step(target[:, t : t + 1], past, lengths, memories, caches)
        torch.testing.assert_close(logits, expected[:, t])


@pytest.mark.parametrize("way", WAYS)
@torch.inference_mode()
def test_the_order_of_the_source_matters(way: str) -> None:
    model = random_model(way)
    source, target, lengths = random_tokens(1, 6), random_tokens(1, 3), torch.tensor([6])
    forward, backward = model(source, lengths, target), model(source.flip(1), lengths, target)
    assert (forward - backward).abs().max() > 1e-3


@torch.inference_mode()
def test_what_is_served_of_a_curve_is_solved_once() -> None:
    model = random_model("floater")
    encoder, decoder, _ = transformer.graphs(model)
    assert encoder.module.get_buffer("source_points").shape == (2, TESTING.max_len, TESTING.width)
    assert decoder.module.get_buffer("target_points").shape == (2, TESTING.max_len, TESTING.width)
    source, lengths = random_tokens(2, 7), torch.tensor([7, 4])
    given = {"source": source.numpy(), "source_lengths": lengths.numpy()}
    expected = model.encode(source, lengths)
    for side in (model.source_side, model.target_side):
        side.curve.start.fill_(torch.nan)
    served = Reference([encoder, decoder]).run("encoder", given)
    torch.testing.assert_close(torch.from_numpy(served["cross_key_1"]), expected[1][0])
