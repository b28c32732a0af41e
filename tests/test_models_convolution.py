"""A convolution of any kind is a layer of attention, to the last bit (Cordonnier et al. 2020)."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from models.convolution import QuadraticAttention, as_attention

few = st.integers(1, 3)


@given(
    kernel=st.tuples(few, few),
    stride=st.tuples(few, few),
    padding=st.tuples(st.integers(0, 2), st.integers(0, 2)),
    dilation=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    groups=few,
    channels=st.tuples(few, few),
    side=st.tuples(st.integers(5, 9), st.integers(5, 9)),
    bias=st.booleans(),
    batch=few,
)
@settings(deadline=None, max_examples=60)
def test_attention_gives_exactly_what_the_convolution_gives(
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
    groups: int,
    channels: tuple[int, int],
    side: tuple[int, int],
    bias: bool,
    batch: int,
) -> None:
    convolution = nn.Conv2d(
        groups * channels[0],
        groups * channels[1],
        kernel,
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
        bias=bias,
    ).double()
    with torch.no_grad():  # sums of whole numbers are the same in any order
        for parameter in convolution.parameters():
            parameter.copy_(torch.randint(-9, 10, parameter.shape))
    layer = as_attention(convolution)
    x = torch.randint(-99, 100, (batch, groups * channels[0], *side)).double()
    assert layer.heads == kernel[0] * kernel[1]
    assert torch.equal(layer(x), convolution(x))


def test_in_float32_they_differ_by_the_order_of_sums_alone() -> None:
    convolution = nn.Conv2d(16, 24, 5, padding=2)
    x = torch.randn(2, 16, 20, 20)
    torch.testing.assert_close(as_attention(convolution)(x), convolution(x), rtol=0, atol=1e-5)


def test_a_blunt_head_looks_at_the_neighbours_too() -> None:
    layer = as_attention(nn.Conv2d(1, 1, 3, padding=1, bias=False))
    with torch.no_grad():
        layer.out.weight.fill_(1 / 9)
        layer.sharpness.fill_(0.5)
    spot = torch.zeros(1, 1, 9, 9)
    spot[0, 0, 4, 4] = 1
    seen = layer(spot)[0, 0]
    assert seen[4, 4] > seen[4, 2] > seen[4, 0] > 0
    torch.testing.assert_close(seen, seen.T)


def test_where_the_heads_look_is_learned() -> None:
    layer = QuadraticAttention(2, 3, heads=4, head_dim=5, padding=(1, 1), reach=(2, 2))
    layer(torch.randn(1, 2, 6, 6)).square().sum().backward()
    for parameter in layer.parameters():
        assert parameter.grad is not None
        assert parameter.grad.abs().sum() > 0


@pytest.mark.parametrize("options", [{"padding": "same"}, {"padding_mode": "reflect"}])
def test_padding_that_is_no_number_of_zeros_is_refused(options: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="number of zeros"):
        as_attention(nn.Conv2d(1, 1, 3, **options))  # type: ignore[arg-type]
