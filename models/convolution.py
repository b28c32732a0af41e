"""convolution → the multi-head self-attention that computes it.

Source: Cordonnier et al. 2020, "On the Relationship between Self-Attention and Convolutional
Layers", theorem 1: with a head for each place of the kernel and the relative quadratic encoding of
equation 9, attention gives exactly what the convolution gives.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from models.attention import attend, join_heads, split_heads

SHARPNESS = 1_024.0
"""Of the scores that `as_attention` makes: exp(-1024) is zero, so a head sees one place."""


class QuadraticAttention(nn.Module):
    """Multi-head attention on a grid whose scores are distances: where to look, never at what.

    Head h of the query at place q gives the key at place k the score -sharpness |k - q - centre|²,
    with a sharpness and a centre of its own. Keys are the places of the grid and of the zeros that
    `padding` puts around it; queries are every `stride`-th of them, but for the last `reach`.
    """

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        *,
        heads: int,
        head_dim: int,
        stride: tuple[int, int] = (1, 1),
        padding: tuple[int, int] = (0, 0),
        reach: tuple[int, int] = (0, 0),
    ) -> None:
        super().__init__()
        self.heads, self.stride, self.padding, self.reach = heads, stride, padding, reach
        self.centres = nn.Parameter(torch.randn(heads, 2))
        self.sharpness = nn.Parameter(torch.ones(heads))
        self.value = nn.Linear(channels_in, heads * head_dim, bias=False)
        self.out = nn.Linear(heads * head_dim, channels_out)

    def scores(
        self, queries: Float[Tensor, "tgt_len 2"], keys: Float[Tensor, "src_len 2"]
    ) -> Float[Tensor, "1 heads tgt_len src_len"]:
        """Places of queries and keys → the scores of each head."""
        apart = keys[None, None] - queries[None, :, None] - self.centres[:, None, None]
        scores: Tensor = -self.sharpness[:, None, None] * apart.square().sum(-1)
        return scores[None]

    def forward(
        self, x: Float[Tensor, "batch channels_in height width"]
    ) -> Float[Tensor, "batch channels_out rows columns"]:
        down, across = self.padding
        x = functional.pad(x, (across, across, down, down))
        keys = [torch.arange(size, device=x.device) for size in x.shape[2:]]
        queries = [
            places[: len(places) - far : step]
            for places, far, step in zip(keys, self.reach, self.stride, strict=True)
        ]
        grid = [torch.cartesian_prod(*places).to(x.dtype) for places in (queries, keys)]
        value = split_heads(self.value(x.flatten(2).transpose(1, 2)), self.heads)
        # Content has no say: queries and keys are zeros, and all of the scores is what is added.
        query, key = (value.new_zeros(*value.shape[:2], len(places), 1) for places in grid)
        attended = attend(query, key, value, mask=self.scores(grid[0], grid[1]))
        out: Tensor = self.out(join_heads(attended)).transpose(1, 2)
        return out.unflatten(2, [len(places) for places in queries])  # type: ignore[no-untyped-call,no-any-return]


@torch.no_grad()
def as_attention(convolution: nn.Conv2d) -> QuadraticAttention:
    """The layer of attention that gives what a convolution gives, whatever its stride and groups.

    Raises ValueError where it pads with anything but a stated number of zeros.
    """
    if convolution.padding_mode != "zeros" or isinstance(convolution.padding, str):
        raise ValueError("state the padding as a number of zeros")
    height, width = convolution.kernel_size
    channels_in, channels_out = convolution.in_channels, convolution.out_channels
    places = torch.cartesian_prod(torch.arange(height), torch.arange(width))
    centres = places * torch.tensor(convolution.dilation)
    layer = QuadraticAttention(
        channels_in,
        channels_out,
        heads=height * width,
        head_dim=channels_in,
        stride=(convolution.stride[0], convolution.stride[1]),
        padding=(convolution.padding[0], convolution.padding[1]),
        reach=(int(centres[-1, 0]), int(centres[-1, 1])),
    ).to(convolution.weight)
    layer.centres.copy_(centres)
    layer.sharpness.fill_(SHARPNESS)
    layer.value.weight.copy_(torch.eye(channels_in).repeat(height * width, 1))
    weight = _without_groups(convolution)
    layer.out.weight.copy_(weight.permute(0, 2, 3, 1).flatten(1))
    if convolution.bias is None:
        layer.out.bias.zero_()
    else:
        layer.out.bias.copy_(convolution.bias)
    return layer


def _without_groups(
    convolution: nn.Conv2d,
) -> Float[Tensor, "channels_out channels_in height width"]:
    """The kernel with zeros for the channels that a group does not read."""
    groups = convolution.groups
    parts = convolution.weight.unflatten(0, (groups, -1))  # type: ignore[no-untyped-call]
    whole = parts.new_zeros(*parts.shape[:2], groups, *parts.shape[2:])
    for group in range(groups):
        whole[group, :, group] = parts[group]
    return whole.flatten(0, 1).flatten(1, 2)  # type: ignore[no-any-return]
