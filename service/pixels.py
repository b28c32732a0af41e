"""preprocessor_config.json of a checkpoint → how its model wants a picture: size, cut, scale.

As the Hugging Face image processors that resize, cut out the centre, rescale and normalise.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32
from numpy import ndarray
from PIL import Image

NAME = "preprocessor_config.json"
MAX_SIDE = 1_024
"""A config that asks for more is refused: pictures of all requests take as much memory."""
MAX_STRETCH = 32
"""Length over breadth of a picture that is resized by its shortest edge: the rest is cut off."""
KNOWN = {"BitImageProcessor", "DeiTImageProcessor", "ViTImageProcessor"}
SHORTEST = {"BitImageProcessor"}
"""Those that mean the shortest edge where the size is one number."""
CROPPED = {"BitImageProcessor", "DeiTImageProcessor"}
"""Those that cut out the centre unless told not to."""
OTHER_STEPS = ("do_pad", "do_reduce_labels", "do_flip_channel_order", "crop_pct")


class Stretched(ValueError):
    """A picture so long that nearly all of it would be cut off."""


@dataclass(frozen=True)
class Pixels:
    """Resize to `size` (height and width, or the shortest edge), cut to `crop`, scale and shift."""

    size: tuple[int, int] | int | None
    resample: Image.Resampling
    crop: tuple[int, int] | None
    factor: float
    mean: Float32[ndarray, "3"]
    std: Float32[ndarray, "3"]

    @property
    def height_width(self) -> tuple[int, int] | None:
        """Of what the model gets; None where it is as large as the picture."""
        return self.crop or (self.size if isinstance(self.size, tuple) else None)

    def __call__(self, picture: Image.Image) -> Float32[ndarray, "3 height width"]:
        """A red, green and blue picture → what the model takes."""
        if self.size is not None:
            height, width = self._resized(picture)
            picture = picture.resize((width, height), self.resample)
        array = np.asarray(picture)
        if self.crop:
            array = centre(array, *self.crop)
        scaled = (array.astype(np.float64) * self.factor).astype(np.float32)
        return np.ascontiguousarray(np.moveaxis((scaled - self.mean) / self.std, -1, 0))

    def _resized(self, picture: Image.Image) -> tuple[int, int]:
        if isinstance(self.size, tuple):
            return self.size
        assert self.size is not None
        width, height = picture.size
        longest = int(self.size * max(picture.size) / min(picture.size))
        if longest > MAX_STRETCH * self.size:
            raise Stretched(
                f"{width} x {height} pixels: at most {MAX_STRETCH} times as long as wide"
            )
        return (longest, self.size) if width <= height else (self.size, longest)


def centre(array: ndarray, height: int, width: int) -> ndarray:
    """The middle of a picture (rows, columns, 3), on black where it is smaller than what is cut."""
    rows, columns = array.shape[:2]
    above, before = max(0, -(-(height - rows) // 2)), max(0, -(-(width - columns) // 2))
    below, behind = max(0, height - rows - above), max(0, width - columns - before)
    top, left = max(0, (rows - height) // 2), max(0, (columns - width) // 2)
    padded = np.pad(array, ((above, below), (before, behind), (0, 0)))
    return padded[top : top + height, left : left + width]


def _both(size: Any) -> tuple[int, int]:
    """One number or both → height and width."""
    return (size, size) if isinstance(size, int) else (size["height"], size["width"])


def _size(size: Any, *, shortest: bool) -> tuple[int, int] | int:
    if isinstance(size, int) and shortest:
        return size
    if isinstance(size, int) or "height" in size:
        return _both(size)
    edge: int = size["shortest_edge"]
    return edge


def read(path: Path) -> Pixels:
    return described(json.loads(path.read_text(encoding="utf-8")))


def described(said: Mapping[str, Any]) -> Pixels:
    """Raises ValueError, which says what is asked and cannot be done here."""
    kind = said.get("image_processor_type", said.get("feature_extractor_type", ""))
    kind = kind.removesuffix("Fast").replace("FeatureExtractor", "ImageProcessor")
    if kind not in KNOWN:
        raise ValueError(f"{NAME}: {kind or 'no'} processor; known are {sorted(KNOWN)}")
    further = [name for name in OTHER_STEPS if said.get(name)]
    if further:
        raise ValueError(f"{NAME}: {', '.join(further)} cannot be done")
    resized, cut = said.get("do_resize", True), said.get("do_center_crop", kind in CROPPED)
    normal = said.get("do_normalize", True)
    mean, std = (said.get("image_mean"), said.get("image_std")) if normal else (None, None)
    pixels = Pixels(
        size=_size(said["size"], shortest=kind in SHORTEST) if resized else None,
        resample=Image.Resampling(said.get("resample", Image.Resampling.BILINEAR)),
        crop=_both(said["crop_size"]) if cut else None,
        factor=said.get("rescale_factor", 1 / 255) if said.get("do_rescale", True) else 1.0,
        mean=np.array(mean or [0, 0, 0], np.float32),
        std=np.array(std or [1, 1, 1], np.float32),
    )
    if pixels.height_width is None or max(pixels.height_width) > MAX_SIDE:
        raise ValueError(f"{NAME}: pictures must get one size, of at most {MAX_SIDE} a side")
    return pixels
