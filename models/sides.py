"""config → what encoder and decoder each know of positions, and tell their layers."""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from models.graph import head_dim
from models.layers import Block
from models.positions import Curve, RelativeBias, Rotation, rotation

Points = Float[Tensor, "layers positions width"] | None
"""Of the curves that positions are on, where they are known already."""


@dataclass(frozen=True, kw_only=True)
class Positioned(Block):
    """What of a config is about positions; `max_len` bounds source and target in tokens."""

    width: int
    heads: int
    max_len: int = 256
    positions: Literal["sinusoidal", "learned", "relative", "rotary", "floater"] = "sinusoidal"
    """Added to the embeddings as they are or as a table says, a bias of the scores, turns of
    queries and keys, or points of a curve that are added to what each layer takes."""
    position_buckets: int = 32
    farthest_position: int = 128
    """From this distance on relative positions are the same."""
    embedding_norm: bool = False


@dataclass(frozen=True)
class Told:
    """What layers are told of positions, besides what stands in the embeddings."""

    bias: Float[Tensor, "#batch heads tgt_len src_len"] | None = None
    rotation: Rotation | None = None
    points: Float[Tensor, "layers rows len width"] | None = None

    def before(
        self, layer: int, x: Float[Tensor, "batch len width"]
    ) -> Float[Tensor, "batch len width"]:
        """What a layer takes."""
        return x if self.points is None else x + self.points[layer]


class Side(nn.Module):
    """What encoder and decoder have each for itself, besides their layers."""

    positions: Tensor

    def __init__(self, config: Positioned, *, layers: int, both_ways: bool) -> None:
        super().__init__()
        self.config = config
        width = config.width
        if config.positions == "learned":
            self.positions = nn.Parameter(torch.randn(config.max_len, width) * 0.02)
        elif config.positions == "relative":
            self.bias = RelativeBias(
                config.heads,
                buckets=config.position_buckets,
                farthest=config.farthest_position,
                both_ways=both_ways,
            )
        elif config.positions == "floater":
            self.curve = Curve(layers, width)
        if config.embedding_norm:
            self.norm = config.make_norm(width)

    def solved(self) -> Points:
        """The points of all positions there are, if these are points of a curve."""
        if self.config.positions != "floater":
            return None
        with torch.no_grad():
            points: Tensor = self.curve(self.config.max_len)
            return points

    def whole(
        self,
        x: Float[Tensor, "batch len width"],
        points: Points = None,
    ) -> Told:
        """For sequences from their beginnings; `points` are those of `solved`, if known."""
        length, way = x.shape[1], self.config.positions
        positions = torch.arange(length, device=x.device)
        if way == "relative":
            return Told(bias=self.bias(positions[None], positions))
        if way == "rotary":
            return Told(rotation=rotation(positions[None], head_dim(self.config)))
        if way == "floater":
            found = self.curve(length) if points is None else points[:, :length]
            return Told(points=found[:, None])
        return Told()

    def at(
        self,
        positions: Int[Tensor, " batch"],
        *,
        max_len: int,
        points: Points = None,
    ) -> Told:
        """For one position of each row, over a cache of `max_len`."""
        way = self.config.positions
        if way == "relative":
            keys = torch.arange(max_len, device=positions.device)
            return Told(bias=self.bias(positions[:, None], keys))
        if way == "rotary":
            return Told(rotation=rotation(positions[:, None], head_dim(self.config)))
        if way == "floater":
            found = self.curve(max_len) if points is None else points
            return Told(points=found[:, positions, None])
        return Told()
