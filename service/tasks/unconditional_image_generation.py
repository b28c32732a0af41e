"""nothing but a seed, or a class → pictures that were never taken: image generation, as PNG.

A picture follows from the model, the seed, its number and its class: who asks again gets it again.
"""

import io
import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32
from numpy import ndarray
from PIL import Image
from pydantic import BaseModel, Field

from service.contract import Graph, Tensor
from service.errors import InvalidInput
from service.explanation import Weights, drawn, either
from service.schema import File, RequestModel, ResponseModel
from service.session import Runner, rows_of
from service.tasks import Item, Row, stack

RPC = "GenerateImage"
EXPECTED = "Sneaker"
MAX_BATCH_COST = 64
"""Pictures in one batch."""
MAX_COUNT = 16
MAX_SEED = 2**31 - 1
NOISE = 128
"""Normal numbers that a picture is made of."""


class Request(RequestModel):
    """Draw pictures."""

    label: str = Field(
        default="",
        max_length=100,
        description="What they are to show: a class of the model; if empty, each another.",
    )
    count: int = Field(default=1, ge=1, le=MAX_COUNT, description="Pictures wanted.")
    seed: int | None = Field(
        default=None,
        ge=0,
        le=MAX_SEED,
        description="The same pictures for the same seed; without one, others each time.",
    )


class Picture(BaseModel):
    """One picture and its class."""

    image: File = Field(description="A PNG file.")
    label: str


class Response(ResponseModel):
    """As many pictures as were asked for, and the seed that draws them again."""

    pictures: list[Picture]
    seed: int


_INPUTS = {
    "noise": Tensor("float32", ("batch", NOISE)),
    "label": Tensor("int64", ("batch",)),
}
_PIXELS = {"pixels": Tensor("float32", ("batch", None, None, None))}
CONTRACT = {
    "model": Graph(inputs=_INPUTS, outputs=_PIXELS),
    "attention": Graph(
        inputs=_INPUTS,
        outputs={**_PIXELS, "attended": Tensor("float32", ("batch", None, None))},
        aside=True,
    ),
}
"""A map of a picture, coarser than it: how much all its places together look at each."""


@dataclass(frozen=True)
class Assets:
    """The names of the classes, in their order."""

    labels: Sequence[str]


def load_assets(folder: Path) -> Assets:
    return Assets(json.loads((folder / "labels.json").read_text(encoding="utf-8")))


def preprocess(request: Request, assets: Assets) -> list[Item]:
    """One item for each picture; raises InvalidInput for a class that the model does not know."""
    if request.label and request.label not in assets.labels:
        raise InvalidInput(f"{request.label!r} is not one of {', '.join(assets.labels)}", "label")
    seed = secrets.randbelow(MAX_SEED) if request.seed is None else request.seed
    return [_item(seed, number, request.label, assets) for number in range(request.count)]


def _item(seed: int, number: int, label: str, assets: Assets) -> Item:
    draw = np.random.default_rng((seed, number))
    chosen = draw.integers(len(assets.labels))
    return {
        "noise": draw.standard_normal(NOISE, np.float32),
        "label": np.array(assets.labels.index(label) if label else chosen, np.int64),
        "seed": np.array(seed, np.int64),
    }


def forward(model: Runner, assets: Assets, items: Sequence[Item]) -> list[Row]:
    """Raises InvalidInput for a number of a client's own that is no class."""
    if not all(0 <= item["label"] < len(assets.labels) for item in items):
        raise InvalidInput(f"a class is a number below {len(assets.labels)}", "label")

    def run(graph: str, items: Sequence[Item]) -> list[Row]:
        return rows_of(model.run(graph, {name: stack(items, name) for name in _INPUTS}))

    return either(items, "model", run)


def png(pixels: Float32[ndarray, "channels height width"]) -> bytes:
    """-1..1, grey or red, green and blue → a PNG file."""
    bright = np.round((pixels + 1) * 127.5).clip(0, 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(bright[0] if len(bright) == 1 else np.moveaxis(bright, 0, -1)).save(file, "PNG")
    return file.getvalue()


def postprocess(
    request: Request, assets: Assets, items: Sequence[Item], rows: Sequence[Row]
) -> Response:
    pictures = [
        Picture(image=png(row["pixels"]), label=assets.labels[int(item["label"])])
        for item, row in zip(items, rows, strict=True)
    ]
    maps = (
        Weights("attended", row["attended"], ["row", "column"], index)
        for index, row in enumerate(rows)
        if "attended" in row
    )
    return Response(pictures=pictures, seed=int(items[0]["seed"]), attention=drawn(maps))


def cost(item: Item) -> int:
    return 1


def example() -> Request:
    return Request(label=EXPECTED, seed=7)


def adapt(request: Request, assets: Assets) -> Request:
    """Asked of a model without its class: any."""
    if request.label in assets.labels:
        return request
    return request.model_copy(update={"label": ""})
