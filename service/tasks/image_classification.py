"""picture → its most likely classes with their probabilities: image classification.

The model sees the picture upright and on white, as its `preprocessor_config.json` says, or without
one the middle square, 32 x 32 pixels small. Colour profiles are not applied, and of an animation
only the first picture counts.
"""

import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from jaxtyping import Float32, UInt8
from numpy import ndarray
from PIL import Image, ImageOps
from pydantic import BaseModel, Field

from service import pixels
from service.contract import Graph, Tensor
from service.errors import InvalidInput, Problem, TooLarge, UnsupportedMedia
from service.explanation import Weights, drawn, either
from service.schema import RequestModel, ResponseModel, Score
from service.session import Runner, rows_of
from service.tasks import Item, Row, stack

RPC = "ClassifyImage"
EXPECTED = "cat"
MAX_BATCH_COST = 64
"""Pictures in one batch."""
MAX_IMAGE_BYTES = 10 * 2**20
MAX_MEGAPIXELS = 50
SIDE = 32
FORMATS = ("PNG", "JPEG", "WEBP")
MAGIC = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"RIFF")
MEAN = np.array([0.4914, 0.4822, 0.4465], np.float32)
STD = np.array([0.2470, 0.2435, 0.2616], np.float32)
"""Red, green and blue over the train images of CIFAR-10, as shares of 255."""


class Request(RequestModel):
    """Name what a picture shows."""

    image: bytes = Field(
        min_length=1,
        max_length=MAX_IMAGE_BYTES,
        description=f"A PNG, JPEG or WebP file, up to 10 MiB and {MAX_MEGAPIXELS} megapixels.",
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
T = TypeVar("T")


def decoded(content: bytes, use: Callable[[Image.Image], T]) -> T:
    """What `use` makes of a picture file that is opened and not yet decoded.

    Raises UnsupportedMedia if it is none of the formats, TooLarge if it has too many pixels
    (which the header tells, before anything is decoded) and InvalidInput if it is broken. All of
    them name the field, and no bytes lead to any other error.
    """
    if not content.startswith(MAGIC):
        raise UnsupportedMedia("not a PNG, JPEG or WebP picture", "image")
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            width, height = image.size
            if width * height > MAX_MEGAPIXELS * 1e6:
                size = f"{width} x {height} pixels; at most {MAX_MEGAPIXELS} megapixels"
                raise TooLarge(size, "image")
            return use(image)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise TooLarge(f"at most {MAX_MEGAPIXELS} megapixels", "image") from error
    except Problem:
        raise
    except pixels.Stretched as error:
        raise InvalidInput(str(error), "image") from error
    except Exception as error:  # Pillow raises ten different types for broken files.
        raise InvalidInput("the picture cannot be decoded: the file is broken", "image") from error


def _eight_bits(image: Image.Image) -> Image.Image:
    """Red, green and blue, with transparency where there is any."""
    if image.mode.startswith("I"):
        # 16-bit grey. Pillow 12 would clip it at 255 instead of scaling it.
        image = image.convert("I").point(lambda value: value * (1 / 257)).convert("L")
    return image.convert("RGBA" if image.has_transparency_data else "RGB")


def _on_white(image: Image.Image) -> Image.Image:
    if image.mode == "RGB":
        return image
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, image).convert("RGB")


def _upright(image: Image.Image) -> Image.Image:
    return _on_white(ImageOps.exif_transpose(_eight_bits(image)))


def _upright_square(image: Image.Image) -> Image.Image:
    # A large JPEG is decoded at a fraction of its size, which is several times faster.
    image.draft("RGB", (4 * SIDE, 4 * SIDE))
    image = _eight_bits(image)
    width, height = image.size
    side = min(width, height)
    left, top = (width - side) / 2, (height - side) / 2
    image = image.resize(
        (SIDE, SIDE), Image.Resampling.BICUBIC, box=(left, top, left + side, top + side)
    )
    return _on_white(ImageOps.exif_transpose(image))


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
    return Assets(labels, lambda content: decoded(content, lambda of: as_checkpoint(_upright(of))))


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
