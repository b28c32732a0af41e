"""picture file → its pixels: opened within limits, upright, on white, eight bits a channel.

Colour profiles are not applied, and of an animation only the first picture counts.
"""

import io
from collections.abc import Callable
from typing import TypeVar

from PIL import Image, ImageOps

from service import pixels
from service.errors import InvalidInput, Problem, TooLarge, UnsupportedMedia

MAX_IMAGE_BYTES = 10 * 2**20
MAX_MEGAPIXELS = 50
FORMATS = ("PNG", "JPEG", "WEBP")
MAGIC = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"RIFF")
FILE = f"A PNG, JPEG or WebP file, up to 10 MiB and {MAX_MEGAPIXELS} megapixels."
"""What the field `image` of a request takes."""

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


def eight_bits(image: Image.Image) -> Image.Image:
    """Red, green and blue, with transparency where there is any."""
    if image.mode.startswith("I"):
        # 16-bit grey. Pillow 12 would clip it at 255 instead of scaling it.
        image = image.convert("I").point(lambda value: value * (1 / 257)).convert("L")
    return image.convert("RGBA" if image.has_transparency_data else "RGB")


def on_white(image: Image.Image) -> Image.Image:
    """What is transparent is white."""
    if image.mode == "RGB":
        return image
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, image).convert("RGB")


def upright(image: Image.Image) -> Image.Image:
    """The whole picture as it is to be seen: red, green and blue."""
    return on_white(ImageOps.exif_transpose(eight_bits(image)))
