"""positions → what attention and embeddings are told of them: the ways of the papers.

Fixed vectors are `sinusoidal_positions` of `layers.py`, learned ones a table; here is the third: a
bias of the scores by how far key and query are apart.
"""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn


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
