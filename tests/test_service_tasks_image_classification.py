"""Pictures: every mode and orientation is read alike, and every bad one is refused by name."""

import io
import json
import random
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from service.errors import InvalidInput, Problem, TooLarge, UnsupportedMedia
from service.tasks import image_classification as task

NAMES = ["cat", "dog", "frog"]
ASSETS = task.Assets(NAMES)


def encoded(image: Image.Image, format: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def scene(width: int = 64, height: int = 64) -> Image.Image:
    """Red upper left, green upper right, blue lower left, white lower right."""
    image = Image.new("RGB", (width, height), "white")
    image.paste("red", (0, 0, width // 2, height // 2))
    image.paste((0, 255, 0), (width // 2, 0, width, height // 2))
    image.paste("blue", (0, height // 2, width // 2, height))
    return image


def corners(pixels: np.ndarray) -> list[list[int]]:
    return [pixels[row, column].tolist() for row in (4, 27) for column in (4, 27)]


SCENE = [[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]]


def header_of_png(width: int, height: int) -> bytes:
    fields = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = b"IDAT" + zlib.compress(b"\0" * 100)
    chunks = (
        struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
        for chunk in (fields, data)
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def test_a_picture_of_the_models_size_passes_unchanged() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    assert np.array_equal(task.square(encoded(Image.fromarray(pixels))), pixels)


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("size", [(64, 64), (640, 200), (201, 1_001), (33, 32), (20, 20)])
def test_the_middle_square_of_any_size_is_seen(format: str, size: tuple[int, int]) -> None:
    assert_alike(task.square(encoded(scene(*size), format)), SCENE, tolerance=24)


def assert_alike(pixels: np.ndarray, expected: list[list[int]], *, tolerance: int) -> None:
    assert pixels.shape == (32, 32, 3)
    assert pixels.dtype == np.uint8
    assert np.abs(np.array(corners(pixels)) - expected).max() <= tolerance


@pytest.mark.parametrize("mode", ["P", "RGBA", "RGB"])
def test_colour_modes_of_png_are_read_alike(mode: str) -> None:
    assert_alike(task.square(encoded(scene().convert(mode))), SCENE, tolerance=0)


def test_a_cmyk_jpeg_is_read() -> None:
    assert_alike(task.square(encoded(scene().convert("CMYK"), "JPEG")), SCENE, tolerance=12)


@pytest.mark.parametrize("mode", ["1", "L", "LA"])
def test_grey_modes_are_read_alike(mode: str) -> None:
    image = Image.new("L", (64, 64), 255)
    image.paste(0, (0, 0, 64, 32))
    black, white = [0, 0, 0], [255, 255, 255]
    pixels = task.square(encoded(image.convert(mode)))
    assert_alike(pixels, [black, black, white, white], tolerance=0)


def test_sixteen_bit_grey_is_scaled_and_not_clipped() -> None:
    ramp = np.linspace(0, 65_535, 32).astype(np.uint16)
    pixels = task.square(encoded(Image.fromarray(np.tile(ramp, (32, 1)))))
    assert np.abs(pixels[0, :, 0] - np.linspace(0, 255, 32)).max() <= 1


@pytest.mark.parametrize("format", ["PNG", "WEBP"])
def test_what_is_transparent_is_white(format: str) -> None:
    image = scene().convert("RGBA")
    image.paste((0, 0, 0, 0), (0, 0, 64, 32))
    white, blue = [255, 255, 255], [0, 0, 255]
    pixels = task.square(encoded(image, format))
    assert_alike(pixels, [white, white, blue, white], tolerance=12)


def test_a_transparent_palette_entry_is_white() -> None:
    image = Image.new("P", (32, 32), 0)
    image.putpalette([0, 0, 0, 255, 0, 0])
    assert (task.square(encoded(image, transparency=0)) == 255).all()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
def test_exif_orientation_is_undone(orientation: int, format: str) -> None:
    undone = {
        2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM, 5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }  # fmt: skip
    image = scene(200, 120)
    stored = image.transpose(undone[orientation]) if orientation > 1 else image
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert_alike(task.square(encoded(stored, format, exif=exif)), SCENE, tolerance=12)


def test_one_pixel_is_answered() -> None:
    assert (task.square(encoded(Image.new("RGB", (1, 1), "red"))) == [255, 0, 0]).all()


@pytest.mark.parametrize(
    "content",
    [b"plain text", b"\x89PNG", b"GIF89a" + b"\0" * 50, b"%PDF-1.7", encoded(scene(), "BMP")],
)
def test_other_bytes_are_unsupported_whatever_they_are_named(content: bytes) -> None:
    with pytest.raises(UnsupportedMedia, match=r"^image: not a PNG, JPEG or WebP picture"):
        task.square(content)


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("share", [0.05, 0.5, 0.95])
def test_a_truncated_picture_is_broken(format: str, share: float) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    content = encoded(Image.fromarray(noise), format)
    with pytest.raises(InvalidInput, match=r"^image: .* broken"):
        task.square(content[: int(len(content) * share)])


@pytest.mark.parametrize("size", [(8_000, 7_000), (12_000, 9_000), (60_000, 60_000)])
def test_a_bomb_is_refused_by_its_header(size: tuple[int, int]) -> None:
    with pytest.raises(TooLarge, match=r"^image: .*at most 50 megapixels"):
        task.square(header_of_png(*size))


def test_a_truncated_bomb_under_the_limit_is_broken() -> None:
    with pytest.raises(InvalidInput, match="broken"):
        task.square(header_of_png(3_000, 2_000))


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP"])
@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's, about damaged EXIF
def test_damaged_bytes_are_answered_or_refused_and_nothing_else(format: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    content = encoded(
        scene(40, 40).convert("RGBA" if format != "JPEG" else "RGB"), format, exif=exif
    )
    rng = random.Random(0)
    refused = []
    for _ in range(200):
        damaged = bytearray(content)
        for _ in range(rng.randrange(1, 6)):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        try:
            task.square(bytes(damaged))
        except Problem as problem:
            refused.append(problem.field)
    assert set(refused) == {"image"}


@pytest.mark.parametrize(
    "fields", [{"image": b""}, {"image": b"x", "top_k": 0}, {"image": b"x", "top_k": 101}, {}]
)
def test_a_request_outside_its_limits_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        task.Request(**fields)


def test_an_image_over_ten_mebibytes_is_refused() -> None:
    with pytest.raises(ValidationError, match="10485760"):
        task.Request(image=bytes(task.MAX_IMAGE_BYTES + 1))


class RedModel:
    """Logits by how red, green and blue a picture is."""

    def run(self, graph: str, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        assert graph == "model"
        return {"logits": inputs["pixels"].mean(axis=(2, 3))}


def classified(colours: Sequence[str], *, top_k: int = 5) -> list[task.Response]:
    model: Any = RedModel()
    images = [encoded(Image.new("RGB", (50, 40), colour)) for colour in colours]
    requests = [task.Request(image=image, top_k=top_k) for image in images]
    items = [task.preprocess(request, ASSETS)[0] for request in requests]
    assert all(item["pixels"].flags.c_contiguous for item in items)
    rows = task.forward(model, ASSETS, items)
    return [
        task.postprocess(request, ASSETS, [item], [row])
        for request, item, row in zip(requests, items, rows, strict=True)
    ]


def test_each_picture_of_a_batch_gets_its_own_classes() -> None:
    answers = classified(["red", "lime", "blue"])
    assert [answer.labels[0].label for answer in answers] == NAMES


def test_scores_are_probabilities_in_falling_order() -> None:
    (answer,) = classified(["orange"])
    scores = [label.score for label in answer.labels]
    assert sum(scores) == pytest.approx(1)
    assert scores == sorted(scores, reverse=True)


def test_top_k_bounds_the_classes() -> None:
    (answer,) = classified(["red"], top_k=2)
    assert len(answer.labels) == 2


def test_huge_logits_give_finite_scores() -> None:
    request = task.example()
    rows = [{"logits": np.array([1e4, -1e4, 0], np.float32)}]
    answer = task.postprocess(request, ASSETS, [{}], rows)
    assert answer.labels[0].score == 1


def test_class_names_come_from_the_models_folder(tmp_path: Path) -> None:
    (tmp_path / "labels.json").write_text(json.dumps(NAMES))
    assert task.load_assets(tmp_path) == ASSETS


def test_the_example_fits_the_contract() -> None:
    (item,) = task.preprocess(task.example(), ASSETS)
    spec = task.CONTRACT["model"].inputs["pixels"]
    assert item["pixels"].shape == (3, task.SIDE, task.SIDE)
    assert item["pixels"].dtype == spec.dtype
    assert task.cost(item) == 1
