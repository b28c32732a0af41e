"""places in time → who attends to whom: truncated self-attention, which hears its surroundings.

Source: Yeh et al. 2019, "Transformer-Transducer: End-to-End Speech Recognition with
Self-Attention", 3.2: a position attends to so many before it and so many behind it. Each layer
reaches so far again.
"""

from typing import TypeAlias

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional

Window: TypeAlias = tuple[int, int]
"""How many places in time a position attends to before its own, and how many behind it."""
BEYOND = -1e4
"""Added to the scores of what is not attended to: a weight of zero, and a number in float16 too."""


def window_mask(
    places: Int[Tensor, " len"], window: Window, *, learned: int = 0
) -> Bool[Tensor, "1 1 positions positions"]:
    """True where the place of a key is in the window about that of the query.

    With `learned` tokens before the others: those attend to all, and nobody else to them, who would
    hear by them what is beyond its window.
    """
    apart = places[None, :] - places[:, None]
    before, behind = window
    mask = (apart >= -before) & (apart <= behind)
    mask = functional.pad(mask, (learned, 0, 0, 0), value=False)
    return functional.pad(mask, (0, 0, learned, 0), value=True)[None, None]


class WindowBias(nn.Module):
    """A learned number for each head and distance in the window; what is beyond is not attended to.

    It tells distances and no places (Shaw et al. 2018, "Self-Attention with Relative Position
    Representations"), so a moment is heard alike wherever it stands in a recording.
    """

    def __init__(self, heads: int, window: Window) -> None:
        super().__init__()
        self.window = window
        self.table = nn.Parameter(torch.zeros(heads, sum(window) + 1))

    def forward(self, positions: int) -> Float[Tensor, "1 heads positions positions"]:
        """What is added to the scores among so many positions in a row."""
        places = torch.arange(positions)
        before, behind = self.window
        apart = (places[None, :] - places[:, None]).clamp(-before, behind) + before
        bias = self.table[:, apart]
        return bias.masked_fill(~window_mask(places, self.window)[0], BEYOND)[None]
