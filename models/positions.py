"""positions → what attention and embeddings are told of them: the ways of the papers.

Fixed vectors are `sinusoidal_positions` of `layers.py`, learned ones a table. Here are a bias of
the scores by how far key and query are apart, rotations of both, and points of a learned curve.
"""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

Rotation = tuple[Float[Tensor, "#batch len head_dim"], Float[Tensor, "#batch len head_dim"]]
"""Cosine and sine of the angles by which the channels of each position are turned."""
INTERVAL = 0.1
"""Of time from one position to the next on a curve, as in the paper."""


def buckets_of(
    distance: Int[Tensor, "*shape"], *, buckets: int, farthest: int, both_ways: bool
) -> Int[Tensor, "*shape"]:
    """How far a key is behind its query (before it: less than zero) → a number below `buckets`.

    Half of the numbers are for distances of their own, the others for ranges that grow, the last
    for all from `farthest` on. Source: Raffel et al. 2020, "Exploring the Limits of Transfer
    Learning with a Unified Text-to-Text Transformer", 2.1; keys in front only where `both_ways`.
    """
    first = torch.zeros_like(distance)
    if both_ways:
        buckets //= 2
        first = (distance < 0).to(torch.int64) * buckets
        distance = distance.abs()
    distance = distance.clamp(min=0)
    alone = buckets // 2
    share = torch.log(distance.clamp(min=1).float() / alone) / math.log(farthest / alone)
    ranges = (alone + (share * (buckets - alone)).to(torch.int64)).clamp(max=buckets - 1)
    return first + torch.where(distance < alone, distance, ranges)


class RelativeBias(nn.Module):
    """A learned number for each head and distance, the same in every layer (Raffel et al. 2020)."""

    def __init__(self, heads: int, *, buckets: int, farthest: int, both_ways: bool) -> None:
        super().__init__()
        self.table = nn.Embedding(buckets, heads)
        self.farthest = farthest
        self.both_ways = both_ways

    def forward(
        self, queries: Int[Tensor, " batch tgt_len"], keys: Int[Tensor, " src_len"]
    ) -> Float[Tensor, "batch heads tgt_len src_len"]:
        """Positions of queries and keys → what is added to their scores."""
        numbers = buckets_of(
            queries[:, :, None] - keys[None, None, :],
            buckets=self.table.num_embeddings,
            farthest=self.farthest,
            both_ways=self.both_ways,
        )
        bias: Tensor = self.table(numbers)
        return bias.permute(0, 3, 1, 2)


def rotation(positions: Int[Tensor, "*shape"], head_dim: int) -> Rotation:
    """The angles of positions: in each pair of channels another multiple of the position.

    Channel i is paired with i + head_dim / 2, as in GPT-NeoX; Su et al. 2021 ("RoFormer", 3.2.2)
    pair neighbours, which is the same in another order of channels.
    """
    half = head_dim // 2
    frequencies = torch.exp(
        -math.log(10_000.0) / half * torch.arange(half, device=positions.device)
    )
    angles = positions[..., None].float() * frequencies
    both = torch.cat([angles, angles], dim=-1)
    return both.cos(), both.sin()


def rotate(x: Float[Tensor, "batch len width"], by: Rotation) -> Float[Tensor, "batch len width"]:
    """Queries or keys, heads side by side, turned: their products tell how far apart they are."""
    cos, sin = (part.to(x.dtype)[:, :, None] for part in by)
    heads = x.unflatten(-1, (-1, cos.shape[-1]))  # type: ignore[no-untyped-call]
    first, second = heads.chunk(2, dim=-1)
    turned: Tensor = heads * cos + torch.cat([-second, first], dim=-1) * sin
    return turned.flatten(2)


class Curve(nn.Module):
    """Positions as points of curves that solve dp/dt = h(t, p), one curve for each layer.

    h is learned, shared by the layers and knows no longest position; where a curve begins is
    learned for each. Source: Liu et al. 2020, "Learning to Encode Position for Transformer with
    Continuous Dynamical Model" (FLOATER), 3.1 and 3.2.
    """

    def __init__(self, layers: int, width: int) -> None:
        super().__init__()
        self.start = nn.Parameter(torch.randn(layers, width) * width**-0.5)
        self.inward = nn.Linear(width + 1, width)
        self.outward = nn.Linear(width, width)

    def velocity(
        self, time: float, points: Float[Tensor, "layers width"]
    ) -> Float[Tensor, "layers width"]:
        timed = torch.cat([points, torch.full_like(points[:, :1], time)], dim=1)
        hidden = functional.linear(timed, self.inward.weight.float(), self.inward.bias.float())
        weight, bias = self.outward.weight.float(), self.outward.bias.float()
        return functional.linear(hidden.tanh(), weight, bias)

    def forward(self, length: int) -> Float[Tensor, "layers length width"]:
        """The first points, by one step of the classic Runge-Kutta method for each interval."""
        with torch.autocast("cpu", enabled=False):
            points = [self.start.float()]
            for position in range(length - 1):
                points.append(self._next(INTERVAL * position, points[-1]))
            return torch.stack(points, dim=1).to(self.start.dtype)

    def _next(
        self, time: float, now: Float[Tensor, "layers width"]
    ) -> Float[Tensor, "layers width"]:
        half = INTERVAL / 2
        first = self.velocity(time, now)
        second = self.velocity(time + half, now + half * first)
        third = self.velocity(time + half, now + half * second)
        fourth = self.velocity(time + INTERVAL, now + INTERVAL * third)
        return now + INTERVAL / 6 * (first + 2 * second + 2 * third + fourth)
