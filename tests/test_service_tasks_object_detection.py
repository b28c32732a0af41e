"""Object detection: the whole picture is seen, and boxes come back in its own pixels."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from service.errors import InvalidInput, TooLarge, UnsupportedMedia
from service.tasks import object_detection as task

ASSETS = task.Assets(["cat", "dog"])


def encoded(image: Image.Image, format: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def seen(content: bytes) -> tuple[np.ndarray, tuple[int, int]]:
    return task.decoded(content, task._fitted)


def logits(*scores: tuple[float, float, float]) -> np.ndarray:
    """Of the probabilities of each guess: cat, dog, nothing."""
    return np.log(np.array(scores, np.float32))


def answered(
    rows: dict[str, np.ndarray], size: tuple[int, int] = (64, 64), **fields: Any
) -> list[task.Detection]:
    request = task.Request(image=b"x", **fields)
    items = [{"size": np.array(size)}]
    return task.postprocess(request, ASSETS, items, [rows]).detections


MIDDLE = [0.5, 0.5, 0.25, 0.5]


def test_a_picture_of_the_models_size_passes_unchanged() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    image, size = seen(encoded(Image.fromarray(pixels)))
    assert np.array_equal(image, pixels)
    assert size == (64, 64)


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("size", [(320, 160), (160, 320), (33, 11), (2_000, 3), (1, 1)])
def test_the_whole_picture_is_seen_in_its_proportions(format: str, size: tuple[int, int]) -> None:
    image, own = seen(encoded(Image.new("RGB", size, "white"), format))
    assert own == size
    width, height = (max(1, round(64 * side / max(size))) for side in size)
    assert (image[:height, :width] > 250).all()
    assert (image[height:] == task.GREY).all()
    assert (image[:, width:] == task.GREY).all()


@pytest.mark.parametrize("format", ["JPEG", "PNG"])
def test_a_turned_picture_has_the_size_it_is_seen_in(format: str) -> None:
    exif = Image.Exif()
    exif[task.EXIF_ORIENTATION] = 6
    image, size = seen(encoded(Image.new("RGB", (1_000, 500), "white"), format, exif=exif))
    assert size == (500, 1_000)
    assert (image[:, :32] > 250).all()
    assert (image[:, 32:] == task.GREY).all()


@pytest.mark.parametrize(
    ("size", "box"),
    [
        ((64, 64), [24, 16, 40, 48]),
        ((640, 640), [240, 160, 400, 480]),
        ((640, 400), [240, 160, 400, 400]),
    ],
)
def test_boxes_are_in_the_pictures_pixels_and_within_it(
    size: tuple[int, int], box: list[int]
) -> None:
    (found,) = answered(
        {"logits": logits((0.8, 0.1, 0.1)), "boxes": np.array([MIDDLE], np.float32)}, size
    )
    assert list(found.box.model_dump().values()) == box
    assert (found.label, found.score) == ("cat", pytest.approx(0.8))


THREE = {
    "logits": logits((0.3, 0.6, 0.1), (0.9, 0.05, 0.05), (0.05, 0.05, 0.9)),
    "boxes": np.array([MIDDLE] * 3, np.float32),
}


def test_what_is_sure_enough_comes_with_the_surest_first() -> None:
    assert [(one.label, round(one.score, 2)) for one in answered(THREE)] == [
        ("cat", 0.9),
        ("dog", 0.6),
    ]
    assert len(answered(THREE, threshold=0.95)) == 0
    assert len(answered(THREE, threshold=0.0)) == 6
    assert [one.score for one in answered(THREE, threshold=0.0, max_detections=2)] == (
        pytest.approx([0.9, 0.6])
    )


def test_each_detection_comes_with_what_was_looked_at_for_it() -> None:
    looked = np.arange(3 * 2 * 4, dtype=np.float32).reshape(3, 2, 2, 2)
    request = task.Request(image=b"x", threshold=0.5)
    items = [{"size": np.array([64, 64])}]
    answer = task.postprocess(request, ASSETS, items, [THREE | {"heads": looked}])
    (found,) = answer.attention
    assert [(axis.name, axis.size) for axis in found.axes] == [
        ("detection", 2), ("head", 2), ("row", 2), ("column", 2),
    ]  # fmt: skip
    assert found.axes[0].labels == [one.label for one in answer.detections]
    assert found.weights == [*looked[1].ravel(), *looked[0].ravel()]
    nothing = task.Request(image=b"x", threshold=0.95)
    (none,) = task.postprocess(nothing, ASSETS, items, [THREE | {"heads": looked}]).attention
    assert (none.axes[0].size, none.weights) == (0, [])


@pytest.mark.parametrize(
    "fields",
    [
        {"image": b""},
        {"image": b"x", "threshold": -0.1},
        {"image": b"x", "threshold": 1.1},
        {"image": b"x", "max_detections": 0},
        {"image": b"x", "max_detections": 1_001},
        {"image": b"x", "top_k": 1},
        {},
    ],
)
def test_a_request_outside_its_limits_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        task.Request(**fields)


def test_other_files_broken_ones_and_huge_ones_are_refused_by_name() -> None:
    whole = encoded(Image.effect_noise((64, 64), 50))
    with pytest.raises(UnsupportedMedia, match=r"^image: "):
        seen(b"plain text")
    with pytest.raises(InvalidInput, match=r"^image: .* broken"):
        seen(whole[: len(whole) // 2])
    with pytest.raises(TooLarge, match=r"^image: .*at most 50 megapixels"):
        seen(encoded(Image.new("1", (8_000, 7_000))))


def test_huge_logits_give_finite_scores() -> None:
    rows = {"logits": np.array([[1e4, -1e4, 0]], np.float32), "boxes": np.array([MIDDLE])}
    assert answered(rows)[0].score == 1


def test_class_names_come_from_the_models_folder(tmp_path: Path) -> None:
    (tmp_path / "labels.json").write_text(json.dumps(ASSETS.labels))
    assert task.load_assets(tmp_path) == ASSETS


def test_the_example_fits_the_contract() -> None:
    (item,) = task.preprocess(task.example(), ASSETS)
    spec = task.CONTRACT["model"].inputs["pixels"]
    assert item["pixels"].shape == (3, task.SIDE, task.SIDE)
    assert item["pixels"].dtype == spec.dtype
    assert item["pixels"].flags.c_contiguous
    assert task.cost(item) == 1
