"""pixels → class logits and boxes of a set of guesses: the detection transformer, DETR.

Sources: Carion et al. 2020, "End-to-End Object Detection with Transformers": learnt queries that
see each other answer together, and each object is matched with exactly one of them in training. It
takes DETR 500 passes over its pictures to learn where to look. What shortens that here:
Zhu et al. 2021, "Deformable DETR" (each layer refines the boxes of the one before; the encoder's
tokens make guesses too, in training); Wang et al. 2022, "Anchor DETR", and Liu et al. 2022,
"DAB-DETR" (a query has a learnt place, told to attention in the very terms in which the keys tell
theirs); Chen et al. 2023, "Group DETR" (several sets of queries in training, one when served).
"""

from dataclasses import dataclass, replace
from math import isqrt, pi

import torch
from jaxtyping import Float
from torch import Tensor, nn

from models.architectures.vit import Stage
from models.attention import attend, attention_weights, join_heads, split_heads
from models.datasets import Batch
from models.explain import explaining, watching
from models.graph import Attentions, Graph
from models.layers import FeedForward, Heads
from models.recipe import Recipe
from models.score import IGNORE
from models.set_prediction import Boxes, Logits, matched, overlap, set_loss
from service.tasks.object_detection import CONTRACT

FIRST_SIZE = 0.4
"""Side of the boxes that refinement begins from, as a share of the picture's."""
FOUND_IOU = 0.5
"""A guess of the right class finds an object if the boxes overlap as much."""


@dataclass(frozen=True)
class Config:
    """Sizes of the model; its pictures have `side` x `side` pixels in red, green and blue.

    `stem` lists the channels of the convolution stages, each of which halves the side; a token is
    one place of what they leave. `queries`, a square number, is how many objects can be found, and
    `groups` how many such sets learn together.
    """

    classes: int
    width: int
    heads: int
    hidden: int
    encoder_layers: int
    decoder_layers: int
    queries: int
    groups: int
    stem: tuple[int, ...]
    side: int = 64


PRESETS = {
    "testing": Config(
        classes=10,
        width=32,
        heads=2,
        hidden=64,
        encoder_layers=1,
        decoder_layers=2,
        queries=4,
        groups=2,
        stem=(8, 16, 32),
    ),
    "garments": Config(
        classes=10,
        width=128,
        heads=4,
        hidden=256,
        encoder_layers=2,
        decoder_layers=3,
        queries=16,
        groups=4,
        stem=(32, 64, 128),
    ),
}


def grid(points: int) -> Float[Tensor, "places 2"]:
    """Centres of `points` x `points` equal parts of a picture, from left to right."""
    centres = (torch.arange(points) + 0.5) / points
    down, right = torch.meshgrid(centres, centres, indexing="ij")
    return torch.stack([right, down], dim=-1).flatten(0, 1)


def place_vectors(
    points: Float[Tensor, "*axes 2"], waves: Float[Tensor, " quarter_width"]
) -> Float[Tensor, "*axes width"]:
    """Sines and cosines of both coordinates at these frequencies."""
    angles = points[..., None] * waves
    return torch.cat([angles.sin(), angles.cos()], dim=-1).flatten(-2)


def anchors(points: Float[Tensor, "places 2"]) -> Float[Tensor, "places 4"]:
    """Boxes about these points, as logits of their centre, width and height."""
    return torch.cat([points, torch.full_like(points, FIRST_SIZE)], dim=1).logit()


class Attention(nn.Module):
    """Multi-head attention whose queries and keys tell where they are.

    One projection serves the places of both, so that from the first step on attention is strongest
    to what is near.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))
        self.place = nn.Linear(width, width, bias=False)
        nn.init.orthogonal_(self.place.weight)

    def forward(
        self,
        x: Float[Tensor, "batch len width"],
        at: Float[Tensor, "#batch len width"],
        *,
        source: Float[Tensor, "batch src_len width"],
        source_at: Float[Tensor, "#batch src_len width"],
    ) -> Float[Tensor, "batch len width"]:
        query = self.placed(self.query(x), at)
        key = self.placed(self.key(source), source_at)
        value = split_heads(self.value(source), self.heads)
        out: Tensor = self.out(join_heads(attend(query, key, value)))
        return out

    def placed(
        self, x: Float[Tensor, "batch len width"], at: Float[Tensor, "#batch len width"]
    ) -> Heads:
        return split_heads(x + self.place(at), self.heads)

    def attention_weights(
        self,
        x: Float[Tensor, "batch len width"],
        at: Float[Tensor, "#batch len width"],
        *,
        source: Float[Tensor, "batch src_len width"],
        source_at: Float[Tensor, "#batch src_len width"],
    ) -> Float[Tensor, "batch heads len src_len"]:
        """How much each position takes of each of the source, in `forward` of the same."""
        query, key = self.placed(self.query(x), at), self.placed(self.key(source), source_at)
        return attention_weights(query, key)


class EncoderLayer(nn.Module):
    """Attention of all places of the picture to each other, and feed-forward; norms come first."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(config.width)
        self.attention = Attention(config.width, config.heads)
        self.feed_forward_norm = nn.LayerNorm(config.width)
        self.feed_forward = FeedForward(config.width, config.hidden)

    def attended(
        self, x: Float[Tensor, "batch len width"], at: Float[Tensor, "#batch len width"]
    ) -> Float[Tensor, "batch len width"]:
        y = self.attention_norm(x)
        attended: Tensor = x + self.attention(y, at, source=y, source_at=at)
        return attended

    def fed_forward(self, x: Float[Tensor, "batch len width"]) -> Float[Tensor, "batch len width"]:
        out: Tensor = x + self.feed_forward(self.feed_forward_norm(x))
        return out

    def forward(
        self, x: Float[Tensor, "batch len width"], at: Float[Tensor, "#batch len width"]
    ) -> Float[Tensor, "batch len width"]:
        return self.fed_forward(self.attended(x, at))


class DecoderLayer(EncoderLayer):
    """Attention of the queries of a group to each other, of all of them to the picture, and
    feed-forward."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.queries = config.queries
        self.picture_norm = nn.LayerNorm(config.width)
        self.picture = Attention(config.width, config.heads)

    def of_group(
        self, x: Float[Tensor, "batch all_queries width"]
    ) -> Float[Tensor, "batch_and_group queries width"]:
        return x.reshape(-1, self.queries, x.shape[2])

    def forward(  # type: ignore[override]
        self,
        x: Float[Tensor, "batch all_queries width"],
        at: Float[Tensor, "batch all_queries width"],
        *,
        memory: Float[Tensor, "batch places width"],
        memory_at: Float[Tensor, "1 places width"],
    ) -> Float[Tensor, "batch all_queries width"]:
        x = self.attended(self.of_group(x), self.of_group(at)).reshape(x.shape)
        attended = self.picture(self.picture_norm(x), at, source=memory, source_at=memory_at)
        return self.fed_forward(x + attended)


class Detr(nn.Module):
    """Places of a picture, attention between them, and queries that ask them for objects."""

    waves: Tensor
    """Frequencies from a quarter of a wave to four waves a picture."""
    cells: Tensor
    cells_at: Tensor

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config, width = config, config.width
        channels = (3, *config.stem)
        self.stem = nn.Sequential(*map(Stage, channels, config.stem))
        self.places = nn.Conv2d(channels[-1], width, 1)
        self.encoder = nn.ModuleList(EncoderLayer(config) for _ in range(config.encoder_layers))
        self.encoder_norm = nn.LayerNorm(width)
        self.decoder = nn.ModuleList(DecoderLayer(config) for _ in range(config.decoder_layers))
        self.decoder_norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, config.classes + 1)
        self.box = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, 4))
        self.content = nn.Parameter(torch.randn(config.groups, config.queries, width) * 0.02)
        spread = anchors(grid(isqrt(config.queries)))
        self.anchors = nn.Parameter(spread.repeat(config.groups, 1, 1))
        waves = 2 * pi * torch.logspace(-2, 2, width // 4, base=2)
        self.register_buffer("waves", waves, persistent=False)
        cells = grid(config.side >> len(config.stem))
        self.register_buffer("cells", anchors(cells), persistent=False)
        self.register_buffer("cells_at", place_vectors(cells, waves)[None], persistent=False)

    def encoded(
        self, pixels: Float[Tensor, "batch 3 side side"]
    ) -> Float[Tensor, "batch places width"]:
        x = self.places(self.stem(pixels)).flatten(2).transpose(1, 2)
        for layer in self.encoder:
            x = layer(x, self.cells_at)
        out: Tensor = self.encoder_norm(x)
        return out

    def guessed(
        self, states: Float[Tensor, "batch len width"], near: Float[Tensor, "... len 4"]
    ) -> tuple[Float[Tensor, "batch len classes_and_nothing"], Float[Tensor, "batch len 4"]]:
        """Logits, and a box, as logits of its shares, by how it differs from the one it is near."""
        return self.head(states), near + self.box(states)

    def decoded(
        self, memory: Float[Tensor, "batch places width"], *, groups: int
    ) -> list[tuple[Logits, Boxes]]:
        """What each layer says, of all queries of so many groups."""
        rows, asked = memory.shape[0], groups * self.config.queries
        # Cut when there is a batch: export would fold a part of what is small under a new name.
        x = self.content.flatten(0, 1).expand(rows, -1, -1)[:, :asked]
        near = self.anchors.flatten(0, 1).expand(rows, -1, -1)[:, :asked]
        said = []
        for layer in self.decoder:
            at = place_vectors(near[..., :2].sigmoid(), self.waves)
            x = layer(x, at, memory=memory, memory_at=self.cells_at)
            logits, moved = self.guessed(self.decoder_norm(x), near)
            said.append((logits, moved.sigmoid()))
            near = moved.detach()
        return said

    def forward(self, pixels: Float[Tensor, "batch 3 side side"]) -> tuple[Logits, Boxes]:
        """What the first group of queries says at last."""
        return self.decoded(self.encoded(pixels), groups=1)[-1]

    def explain(
        self, pixels: Float[Tensor, "batch 3 side side"]
    ) -> tuple[Logits, Boxes, Float[Tensor, "batch queries heads rows columns"]]:
        """The guesses, and where in the picture each head of the last layer looks for each."""
        with watching(self.decoder[-1].picture) as seen:  # type: ignore[arg-type]
            logits, boxes = self(pixels)
        (weights,) = seen
        rows = self.config.side >> len(self.config.stem)
        return logits, boxes, weights.transpose(1, 2).unflatten(-1, (rows, -1))  # type: ignore[no-untyped-call]

    def taught(self, pixels: Float[Tensor, "batch 3 side side"]) -> list[tuple[Logits, Boxes]]:
        """All that is compared with the truth: of the encoder, and of every layer and group."""
        memory = self.encoded(pixels)
        logits, boxes = self.guessed(memory, self.cells)
        own = self.config.queries
        return [
            (logits, boxes.sigmoid()),
            *(
                (logits.reshape(-1, own, logits.shape[2]), boxes.reshape(-1, own, 4))
                for logits, boxes in self.decoded(memory, groups=self.config.groups)
            ),
        ]


def build(config: Config) -> Detr:
    return Detr(config)


def loss(model: nn.Module, batch: Batch) -> Float[Tensor, ""]:
    """The mean over all that is taught; every decoder layer is (there: auxiliary losses)."""
    assert isinstance(model, Detr)
    # With the channels innermost a training step on a CPU takes two thirds of the time.
    pixels = batch["pixels"].contiguous(memory_format=torch.channels_last)
    said = [set_loss(logits, boxes, batch) for logits, boxes in model.taught(pixels)]
    return torch.stack(said).mean()


def score(model: nn.Module, batch: Batch) -> dict[str, float]:
    """Over a dev batch: the objects, the loss, and how many are found, by name and place."""
    logits, boxes = (each.float() for each in model(batch["pixels"]))
    labels, true_boxes = batch["labels"], batch["boxes"]
    there, rows = labels != IGNORE, torch.arange(len(labels))[:, None]
    guesses = matched(logits, boxes, labels, true_boxes)
    named = logits.argmax(-1)[rows, guesses] == labels
    placed = overlap(boxes[rows, guesses], true_boxes)[0] >= FOUND_IOU
    count = float(there.sum())
    return {
        "count": count,
        "loss": float(set_loss(logits, boxes, batch)) * count,
        "correct": float((named & placed & there).sum()),
    }


def graphs(model: Detr) -> tuple[Graph, Graph]:
    """The whole model, from normalised pixels to the guesses; and with where it looks for them."""
    axes = (3, model.config.side, model.config.side)
    pixels = replace(CONTRACT["model"].inputs["pixels"], axes=("batch", *axes))

    def inputs(batch: int) -> dict[str, Tensor]:
        return {"pixels": torch.randn(batch, *axes)}

    graph = Graph(
        name="model",
        module=model,
        contract=replace(CONTRACT["model"], inputs={"pixels": pixels}),
        outputs=["logits", "boxes"],
        inputs=inputs,
        cases=[{"batch": batch} for batch in (3, 1, 2, 8, 64)],
    )
    return graph, explaining(graph, CONTRACT["attention"])


TOLERANCE = 2e-5


def attentions(config: Config) -> dict[str, Attentions]:
    """One per encoder layer, two per decoder layer."""
    every = Attentions(whole=config.encoder_layers + 2 * config.decoder_layers)
    return {"model": every, "attention": every}


RECIPES = {
    "object-detection": Recipe(
        preset="garments",
        dataset="garment_scenes",
        data={"batch_size": 32},
        steps=1_500,
        learning_rate=2e-3,
        warmup_steps=200,
        decay_share=0.6,
        weight_decay=0.05,
        evaluate_every_steps=250,
    ),
    "garments-smoke": Recipe(
        preset="testing",
        dataset="garment_scenes",
        data={"batch_size": 16, "scenes": 64},
        steps=40,
        learning_rate=1e-2,
        warmup_steps=10,
        evaluate_every_steps=20,
    ),
}
