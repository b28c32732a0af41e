"""picture → what is in it and where: object detection.

The model sees the whole picture, upright and on white, its longer side `SIDE` pixels; what is
missing at the right or below is filled up. It answers with a fixed set of guesses, each a box and
a probability for every class; all of a guess and a class that are sure enough are detections.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32, UInt8
from numpy import ndarray
from PIL import Image
from pydantic import BaseModel, Field

from service.contract import Graph, Tensor
from service.explanation import Axis, Weights, drawn, either
from service.picture import FILE, MAX_IMAGE_BYTES, decoded, upright
from service.schema import RequestModel, ResponseModel, Score
from service.session import Runner, rows_of
from service.tasks import Item, Row, stack

RPC = "DetectObjects"
EXPECTED = "Trouser"
MAX_BATCH_COST = 64
"""Pictures in one batch."""
SIDE = 64
GREY, SPREAD = 64, 64
"""About the mean and the deviation, of 255, of the pictures that the shipped model has learnt."""
EXIF_ORIENTATION, FIRST_TURNED = 0x0112, 5
"""From this orientation on a picture's width is what is stored as its height."""


class Request(RequestModel):
    """Find the objects in a picture."""

    image: bytes = Field(min_length=1, max_length=MAX_IMAGE_BYTES, description=FILE)
    threshold: float = Field(
        default=0.5, ge=0, le=1, description="Detections wanted are at least as sure as this."
    )
    max_detections: int = Field(
        default=100, ge=1, le=1_000, description="Detections wanted, the surest first."
    )


class Box(BaseModel):
    """A rectangle in pixels of the upright picture, from its upper left corner."""

    xmin: int
    ymin: int
    xmax: int
    ymax: int


class Detection(BaseModel):
    """An object."""

    label: str
    score: Score = Field(description="Probability that such an object is in the box.")
    box: Box


class Response(ResponseModel):
    """The objects found, surest first; maybe none."""

    detections: list[Detection]


_PIXELS = {"pixels": Tensor("float32", ("batch", 3, None, None))}
_GUESSES = {
    "logits": Tensor("float32", ("batch", None, None)),
    "boxes": Tensor("float32", ("batch", None, 4)),
}
CONTRACT = {
    "model": Graph(inputs=_PIXELS, outputs=_GUESSES),
    "attention": Graph(
        inputs=_PIXELS,
        outputs={**_GUESSES, "heads": Tensor("float32", ("batch", None, None, None, None))},
        aside=True,
    ),
}
"""Of each guess the logits of all classes and, last, of nothing; its box: centre, width and height,
as shares of the model's picture; and what each head looks at, in parts of that picture."""


@dataclass(frozen=True)
class Assets:
    """The names of the classes, in the order of the logits."""

    labels: Sequence[str]


def load_assets(folder: Path) -> Assets:
    """Read `labels.json`."""
    return Assets(json.loads((folder / "labels.json").read_text(encoding="utf-8")))


def _fitted(image: Image.Image) -> tuple[UInt8[ndarray, "side side 3"], tuple[int, int]]:
    """A picture in the upper left of the model's, and its own width and height."""
    width, height = image.size
    if image.getexif().get(EXIF_ORIENTATION, 1) >= FIRST_TURNED:
        width, height = height, width
    # A large JPEG is decoded at a fraction of its size, which is several times faster.
    image.draft("RGB", (2 * SIDE, 2 * SIDE))
    longest = max(width, height)
    small = (max(1, round(SIDE * width / longest)), max(1, round(SIDE * height / longest)))
    canvas = Image.new("RGB", (SIDE, SIDE), (GREY, GREY, GREY))
    canvas.paste(upright(image).resize(small, Image.Resampling.BICUBIC))
    return np.asarray(canvas), (width, height)


def normalised(
    images: UInt8[ndarray, "*batch height width 3"],
) -> Float32[ndarray, "*batch 3 height width"]:
    """Red, green, blue 0..255 → channels first, about -1 to 3."""
    return np.moveaxis((images.astype(np.float32) - GREY) / SPREAD, -1, -3)


def preprocess(request: Request, assets: Assets) -> list[Item]:
    image, size = decoded(request.image, _fitted)
    return [{"pixels": np.ascontiguousarray(normalised(image)), "size": np.array(size)}]


def forward(model: Runner, assets: Assets, items: Sequence[Item]) -> list[Row]:
    def run(graph: str, items: Sequence[Item]) -> list[Row]:
        return rows_of(model.run(graph, {"pixels": stack(items, "pixels")}))

    return either(items, "model", run)


def _corners(boxes: Float32[ndarray, "guesses 4"], size: ndarray) -> Float32[ndarray, "guesses 4"]:
    """Centre, width and height in the model's picture → left, top, right, bottom in pixels."""
    centre, half = boxes[:, :2], boxes[:, 2:] / 2
    corners = np.concatenate([centre - half, centre + half], axis=1) * size.max()
    within: Float32[ndarray, "guesses 4"] = np.clip(corners, 0, np.tile(size, 2))
    return within


def postprocess(
    request: Request, assets: Assets, items: Sequence[Item], rows: Sequence[Row]
) -> Response:
    logits = rows[0]["logits"]
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    scores = (exponentials / exponentials.sum(axis=1, keepdims=True))[:, :-1]
    corners = _corners(rows[0]["boxes"], items[0]["size"]).round().astype(int)
    best = np.argsort(-scores, axis=None, kind="stable")[: request.max_detections]
    placed = (divmod(int(index), scores.shape[1]) for index in best)
    found = [(guess, label) for guess, label in placed if scores[guess, label] >= request.threshold]
    maps = []
    if "heads" in rows[0]:
        weights = rows[0]["heads"][[guess for guess, _ in found]]
        axis = Axis(name="detection", size=len(found), labels=[assets.labels[i] for _, i in found])
        maps.append(Weights("heads", weights, [axis, "head", "row", "column"]))
    return Response(
        detections=[
            Detection(
                label=assets.labels[label],
                score=float(scores[guess, label]),
                box=Box(**dict(zip(Box.model_fields, corners[guess].tolist(), strict=True))),
            )
            for guess, label in found
        ],
        attention=drawn(maps),
    )


def cost(item: Item) -> int:
    return 1


def example() -> Request:
    return Request(image=(Path(__file__).parents[1] / "examples" / "garments.png").read_bytes())
