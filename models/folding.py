"""a sequence that ends in silence → a shorter one, in which a position may stand for several.

What an encoder makes of a long stretch of padding hardly changes from one position to the next. So
the middle one of each group stands for all of it, and counts in attention as often as there are
positions in its group: the logarithm of that is added to the scores, which is exact wherever the
keys and values of a group are equal. Without it, or with the silence cut off, Whisper hears a
recording of another kind than those that it was trained with.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor


def fold(
    begins: Int[Tensor, " groups"], length: int, dtype: torch.dtype = torch.float32
) -> tuple[Int[Tensor, " groups"], Float[Tensor, "1 1 1 groups"]]:
    """The places of what stands for each group, and what is added to its scores.

    A group reaches from its place in `begins`, which rise from 0, to the next, or to `length`.
    """
    sizes = torch.cat([begins[1:], torch.full((1,), length)]) - begins
    return begins + sizes // 2, sizes.to(dtype).log()[None, None, None]


def unfold(
    x: Float[Tensor, "batch heads groups head_dim"], begins: Int[Tensor, " groups"], length: int
) -> Float[Tensor, "batch heads length head_dim"]:
    """Each of so many positions has what stands for its group."""
    group = (torch.arange(length)[:, None] >= begins[None, :]).sum(dim=1) - 1
    return x.index_select(2, group)
