"""pixels → class logits: the hierarchical transformer Swin, for image classification.

Source: Liu et al. 2021, "Swin Transformer: Hierarchical Vision Transformer using Shifted Windows":
attention inside windows with a learned bias for each distance (equation 4), every second time with
windows that are shifted by half; between stages four neighbours become one position of twice the
width.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from models.attention import attend, attention_weights, join_heads, split_heads
from models.datasets import Batch
from models.explain import explaining, watching
from models.graph import Attentions, Graph, classifier
from models.layers import FeedForward, Heads
from models.recipe import Recipe
from models.score import sums
from service.tasks.image_classification import CONTRACT

APART = -100.0
"""Added to the scores of positions that only the shift has made neighbours, as released."""

Grid = Float[Tensor, "batch rows columns width"]


@dataclass(frozen=True)
class Config:
    """Sizes of the model; each stage has its own depth and heads, and half the side of the last."""

    classes: int
    width: int
    depths: tuple[int, ...]
    heads: tuple[int, ...]
    window: int = 7
    side: int = 224
    patch: int = 4
    expansion: float = 4.0
    norm_eps: float = 1e-5


PRESETS = {
    "testing": Config(classes=3, width=16, depths=(2, 2), heads=(2, 4), window=4, side=32),
    "tiny": Config(classes=1_000, width=96, depths=(2, 2, 6, 2), heads=(3, 6, 12, 24)),
}


def distances(window: int) -> Int[Tensor, "positions positions"]:
    """For two positions of a window, the row of the table of biases that their distance has."""
    places = torch.cartesian_prod(torch.arange(window), torch.arange(window))
    apart = places[:, None] - places[None, :] + window - 1
    return apart[..., 0] * (2 * window - 1) + apart[..., 1]


def windowed(x: Grid, window: int) -> Float[Tensor, "windows positions width"]:
    """Cut grids, whose sides are multiples of `window`, into squares."""
    rows = x.unflatten(1, (-1, window)).unflatten(3, (-1, window))  # type: ignore[no-untyped-call]
    cut: Tensor = rows.transpose(2, 3).flatten(3, 4).flatten(0, 2)
    return cut


def joined(windows: Float[Tensor, "windows positions width"], window: int, across: int) -> Grid:
    """The inverse, for grids of `across` windows a side."""
    cut = windows.unflatten(0, (-1, across, across)).unflatten(3, (window, window))  # type: ignore[no-untyped-call]
    grid: Tensor = cut.transpose(2, 3).flatten(3, 4).flatten(1, 2)
    return grid


class WindowAttention(nn.Module):
    """Attention inside the windows of a grid with `side` positions a side, shifted by `shift`.

    A grid that is no multiple of the window is filled up with zeros, which are attended to as well.
    """

    distances: Tensor
    apart: Tensor | None

    def __init__(self, width: int, heads: int, *, side: int, window: int, shift: int) -> None:
        super().__init__()
        self.heads, self.side, self.window, self.shift = heads, side, window, shift
        self.across = -(-side // window)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.biases = nn.Parameter(torch.randn((2 * window - 1) ** 2, heads) * 0.02)
        self.register_buffer("distances", distances(window), persistent=False)
        self.register_buffer("apart", self._apart() if shift else None, persistent=False)

    def _apart(self) -> Float[Tensor, "windows 1 positions positions"]:
        """`APART` where two positions of a window come from different sides of the grid."""
        full = self.across * self.window
        place = torch.arange(full)
        strip = (place >= full - self.window).long() + (place >= full - self.shift).long()
        region = (3 * strip[:, None] + strip[None, :])[None, :, :, None].float()
        of = windowed(region, self.window)[..., 0]
        return (of[:, None, :, None] != of[:, None, None, :]) * APART

    def cut(self, x: Grid) -> Float[Tensor, "windows positions width"]:
        """The windows of grids."""
        fill = self.across * self.window - self.side
        x = functional.pad(x, (0, 0, 0, fill, 0, fill)) if fill else x
        x = x.roll((-self.shift, -self.shift), (1, 2)) if self.shift else x
        return windowed(x, self.window)

    def back(self, windows: Float[Tensor, "windows positions width"]) -> Grid:
        """The inverse, without what the grids were filled up with."""
        x = joined(windows, self.window, self.across)
        x = x.roll((self.shift, self.shift), (1, 2)) if self.shift else x
        return x[:, : self.side, : self.side]

    def bias(self, rows: int) -> Float[Tensor, "#windows heads positions positions"]:
        """What is added to the scores in the windows of so many grids."""
        bias = self.biases[self.distances].permute(2, 0, 1)[None]
        if self.apart is not None:
            bias = (bias + self.apart)[None].expand(rows, -1, -1, -1, -1).flatten(0, 1)
        return bias

    def project(self, windows: Float[Tensor, "windows positions width"]) -> Iterator[Heads]:
        """Queries, keys and values."""
        parts = self.query_key_value(windows).chunk(3, dim=-1)
        return (split_heads(part, self.heads) for part in parts)

    def forward(self, x: Grid) -> Grid:
        windows, bias = self.cut(x), self.bias(x.shape[0])
        query, key, value = self.project(windows)
        return self.back(self.out(join_heads(attend(query, key, value, mask=bias))))

    def attention_weights(self, x: Grid) -> Float[Tensor, "windows heads positions positions"]:
        """How much each position takes of every other of its window, in `forward` of the same."""
        query, key, _ = self.project(self.cut(x))
        return attention_weights(query, key, mask=self.bias(x.shape[0]))

    def looked(
        self,
        read: Float[Tensor, "batch side side heads"],
        weights: Float[Tensor, "windows heads positions positions"],
    ) -> Float[Tensor, "batch side side heads"]:
        """Where a vector looks that has these shares of the positions; filling is left out."""
        shares = (self.cut(read).transpose(1, 2)[..., None] * weights).sum(dim=2)
        return self.back(shares.transpose(1, 2))


class Block(nn.Module):
    """Attention inside windows and feed-forward, each behind a norm."""

    def __init__(
        self, width: int, heads: int, config: Config, *, side: int, window: int, shift: int
    ) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(width, config.norm_eps)
        self.attention = WindowAttention(width, heads, side=side, window=window, shift=shift)
        self.feed_forward_norm = nn.LayerNorm(width, config.norm_eps)
        self.feed_forward = FeedForward(width, int(config.expansion * width))

    def forward(self, x: Grid) -> Grid:
        x = x + self.attention(self.attention_norm(x))
        return x + self.feed_forward(self.feed_forward_norm(x))  # type: ignore[no-any-return]


class Merge(nn.Module):
    """Four neighbours side by side → one position of twice the width."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4 * width)
        self.out = nn.Linear(4 * width, 2 * width, bias=False)

    def forward(self, x: Grid) -> Grid:
        odd = x.shape[1] % 2
        x = functional.pad(x, (0, 0, 0, odd, 0, odd)) if odd else x
        four = [x[:, row::2, column::2] for column in range(2) for row in range(2)]
        merged: Tensor = self.out(self.norm(torch.cat(four, dim=-1)))
        return merged


class Swin(nn.Module):
    """Patches, stages of window attention with merges between them, the mean of what is left."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        width, side = config.width, config.side // config.patch
        self.tokens = nn.Conv2d(3, width, config.patch, stride=config.patch)
        self.tokens_norm = nn.LayerNorm(width)
        self.stages = nn.ModuleList()
        self.merges = nn.ModuleList()
        for depth, heads in zip(config.depths, config.heads, strict=True):
            if self.stages:
                self.merges.append(Merge(width))
                width, side = 2 * width, (side + 1) // 2
            window = min(config.window, side)
            shift = config.window // 2 if side > window else 0
            blocks = (
                Block(width, heads, config, side=side, window=window, shift=shift * (index % 2))
                for index in range(depth)
            )
            self.stages.append(nn.Sequential(*blocks))
        self.norm = nn.LayerNorm(width, config.norm_eps)
        self.head = nn.Linear(width, config.classes)

    def forward(self, pixels: Float[Tensor, "batch 3 side side"]) -> Float[Tensor, "batch classes"]:
        x = self.tokens_norm(self.tokens(pixels).permute(0, 2, 3, 1))
        x = self.stages[0](x)
        for merge, stage in zip(self.merges, self.stages[1:], strict=True):
            x = stage(merge(x))
        logits: Tensor = self.head(self.norm(x).flatten(1, 2).mean(dim=1))
        return logits

    def explain(
        self, pixels: Float[Tensor, "batch 3 side side"]
    ) -> tuple[
        Float[Tensor, "batch classes"],
        Float[Tensor, "batch rows columns"],
        Float[Tensor, "batch layers heads rows_of_last columns_of_last"],
    ]:
        """Logits, how much of each patch is in them by all stages together, and where the heads of
        the last stage look. A merged position has a quarter of each of its four."""
        with watching(self) as seen:
            logits = self(pixels)
        layers = [each for each in self.modules() if isinstance(each, WindowAttention)]
        last = layers[-1].side
        read = torch.full((1, last, last, 1), last**-2.0).expand(pixels.shape[0], -1, -1, -1)
        shares, heads = read, list[Tensor]()
        for layer, weights in zip(reversed(layers), reversed(seen), strict=True):
            if layer.side > shares.shape[1]:
                shares = shares.repeat_interleave(2, 1).repeat_interleave(2, 2) / 4
                shares = shares[:, : layer.side, : layer.side]
            shares = (shares + layer.looked(shares, weights.mean(dim=1, keepdim=True))) / 2
            if len(heads) < self.config.depths[-1]:
                looked = layer.looked(read.expand(-1, -1, -1, layer.heads), weights)
                heads.append(looked.permute(0, 3, 1, 2))
        rollout = shares[..., 0]
        return logits, rollout / rollout.sum((1, 2), keepdim=True), torch.stack(heads[::-1], dim=1)


def build(config: Config) -> Swin:
    return Swin(config)


def loss(model: nn.Module, batch: Batch) -> Float[Tensor, ""]:
    """Cross entropy of the classes."""
    return functional.cross_entropy(model(batch["pixels"]).float(), batch["labels"])


def score(model: nn.Module, batch: Batch) -> dict[str, float]:
    """Over a dev batch of pictures."""
    return sums(model(batch["pixels"]), batch["labels"])


def graphs(model: Swin) -> tuple[Graph, Graph]:
    """The whole model, from normalised pixels to logits; and with where it looks."""
    side = model.config.side
    (graph,) = classifier(model, CONTRACT["model"], "pixels", (3, side, side), (2, 1, 3))
    return graph, explaining(graph, CONTRACT["attention"])


def attentions(config: Config) -> dict[str, Attentions]:
    """One per block."""
    every = Attentions(whole=sum(config.depths))
    return {"model": every, "attention": every}


TOLERANCE = 5e-5
RECIPES: dict[str, Recipe] = {}
"""None: the weights are imported."""
