"""picture → its most likely classes with their probabilities: image classification.

The model sees the picture upright and on white, as its `preprocessor_config.json` says, or without
one the middle square, 32 x 32 pixels small. Colour profiles are not applied, and of an animation
only the first picture counts.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32, UInt8
from numpy import ndarray
from PIL import Image, ImageOps
from pydantic import BaseModel, Field

from service import pixels
from service.contract import Graph, Tensor
from service.explanation import Weights, drawn, either
from service.picture import FILE, MAX_IMAGE_BYTES, decoded, eight_bits, on_white, upright
from service.schema import RequestModel, ResponseModel, Score
from service.session import Runner, rows_of
from service.tasks import Item, Row, stack

RPC = "ClassifyImage"
EXPECTED = "cat"
MAX_BATCH_COST = 64
"""Pictures in one batch."""
SIDE = 32
MEAN = np.array([0.4914, 0.4822, 0.4465], np.float32)
STD = np.array([0.2470, 0.2435, 0.2616], np.float32)
"""Red, green and blue over the train images of CIFAR-10, as shares of 255."""


class Request(RequestModel):
    """Name what a picture shows."""

    image: bytes = Field(
        min_length=1,
        max_length=MAX_IMAGE_BYTES,
        description=FILE,
    )
    top_k: int = Field(default=5, ge=1, le=100, description="Classes wanted, the likeliest first.")


class Label(BaseModel):
    """One class and how likely it is."""

    label: str
    score: Score = Field(description="Probability, 0 to 1, over all classes of the model.")


class Response(ResponseModel):
    """The likeliest classes, surest first; fewer than `top_k` if the model knows fewer."""

    labels: list[Label]


_PIXELS = {"pixels": Tensor("float32", ("batch", 3, None, None))}
_LOGITS = {"logits": Tensor("float32", ("batch", None))}
CONTRACT = {
    "model": Graph(inputs=_PIXELS, outputs=_LOGITS),
    "attention": Graph(
        inputs=_PIXELS,
        outputs={
            **_LOGITS,
            "rollout": Tensor("float32", ("batch", None, None)),
            "heads": Tensor("float32", ("batch", None, None, None, None)),
        },
        aside=True,
    ),
}
MAPS = {"rollout": ("row", "column"), "heads": ("layer", "head", "row", "column")}
"""Over the patches of what the model sees of a picture: how much of each is in the answer."""


Pixels = Float32[ndarray, "3 height width"]


def _upright_square(image: Image.Image) -> Image.Image:
    # A large JPEG is decoded at a fraction of its size, which is several times faster.
    image.draft("RGB", (4 * SIDE, 4 * SIDE))
    image = eight_bits(image)
    width, height = image.size
    side = min(width, height)
    left, top = (width - side) / 2, (height - side) / 2
    image = image.resize(
        (SIDE, SIDE), Image.Resampling.BICUBIC, box=(left, top, left + side, top + side)
    )
    return on_white(ImageOps.exif_transpose(image))


def square(content: bytes) -> UInt8[ndarray, "side side 3"]:
    """A picture file → its middle square as `SIDE` x `SIDE` red, green and blue."""
    return decoded(content, lambda image: np.asarray(_upright_square(image)))


def normalised(
    images: UInt8[ndarray, "*batch height width 3"],
) -> Float32[ndarray, "*batch 3 height width"]:
    """Red, green, blue 0..255 → channels first, with mean 0 and deviation 1 over CIFAR-10.

    The result is a view whose memory stays channels-last, as convolutions in training like it.
    """
    scaled = (images.astype(np.float32) - 255 * MEAN) / (255 * STD)
    return np.moveaxis(scaled, -1, -3)


def small(content: bytes) -> Pixels:
    """What a model that was trained here on CIFAR-10 takes."""
    return np.ascontiguousarray(normalised(square(content)))


@dataclass(frozen=True)
class Assets:
    """The names of the classes, in the order of the logits, and how a picture becomes an input."""

    labels: Sequence[str]
    pixels: Callable[[bytes], Pixels] = small


def load_assets(folder: Path) -> Assets:
    """Read `labels.json` and, if it is there, `preprocessor_config.json`."""
    labels: list[str] = json.loads((folder / "labels.json").read_text(encoding="utf-8"))
    if not (folder / pixels.NAME).exists():
        return Assets(labels)
    as_checkpoint = pixels.read(folder / pixels.NAME)
    return Assets(labels, lambda content: decoded(content, lambda of: as_checkpoint(upright(of))))


def preprocess(request: Request, assets: Assets) -> list[Item]:
    return [{"pixels": assets.pixels(request.image)}]


def forward(model: Runner, assets: Assets, items: Sequence[Item]) -> list[Row]:
    def run(graph: str, items: Sequence[Item]) -> list[Row]:
        return rows_of(model.run(graph, {"pixels": stack(items, "pixels")}))

    return either(items, "model", run)


def postprocess(
    request: Request, assets: Assets, items: Sequence[Item], rows: Sequence[Row]
) -> Response:
    (row,) = rows
    logits = row["logits"]
    exponentials = np.exp(logits - logits.max())
    scores = exponentials / exponentials.sum()
    best = np.argsort(-scores, kind="stable")[: request.top_k]
    return Response(
        labels=[Label(label=assets.labels[i], score=float(scores[i])) for i in best],
        attention=drawn(
            Weights(name, row[name], axes) for name, axes in MAPS.items() if name in row
        ),
    )


def cost(item: Item) -> int:
    return 1


def example() -> Request:
    return Request(image=(Path(__file__).parents[1] / "examples" / "cat.jpg").read_bytes())
