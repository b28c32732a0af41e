"""Pictures from noise: the same seed draws them again, and what cannot be drawn is refused."""

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from service.errors import InvalidInput
from service.tasks import unconditional_image_generation as task

ASSETS = task.Assets(["Bag", "Coat", "Sneaker"])


class Painter:
    """A model that paints a square as bright as its first number, darker by class."""

    def tensors(self, graph: str) -> Any:
        raise NotImplementedError

    def bind(self, graph: str, inputs: Any, outputs: Any) -> Any:
        raise NotImplementedError

    def run(self, graph: str, inputs: Mapping[str, Any]) -> dict[str, Any]:
        assert (graph, set(inputs)) == ("model", {"noise", "label"})
        bright = np.tanh(inputs["noise"][:, 0]) - inputs["label"] / 10
        return {"pixels": np.ones((1, 1, 4, 4), np.float32) * bright[:, None, None, None]}


def answered(**fields: Any) -> task.Response:
    request = task.Request(**fields)
    items = task.preprocess(request, ASSETS)
    return task.postprocess(request, ASSETS, items, task.forward(Painter(), ASSETS, items))


def test_a_seed_draws_the_same_pictures_again() -> None:
    first, again = answered(seed=3, count=4), answered(seed=3, count=4)
    assert first == again
    assert first.seed == 3
    assert len({picture.image for picture in first.pictures}) > 1
    assert answered(seed=4, count=4).pictures != first.pictures


def test_without_a_seed_the_answer_says_which_one_it_drew() -> None:
    drawn = answered(count=2)
    assert answered(seed=drawn.seed, count=2) == drawn


def test_more_pictures_begin_with_the_same() -> None:
    assert answered(seed=3, count=4).pictures[:2] == answered(seed=3, count=2).pictures


def test_pictures_show_the_class_that_was_asked_for() -> None:
    assert {one.label for one in answered(label="Coat", seed=1, count=8).pictures} == {"Coat"}
    assert len({one.label for one in answered(seed=1, count=16).pictures}) > 1


def test_pictures_are_png_files_of_the_models_colours() -> None:
    grey = np.linspace(-1.2, 1.2, 6, dtype=np.float32).reshape(1, 2, 3)
    image = Image.open(io.BytesIO(task.png(grey)))
    assert (image.format, image.mode, image.size) == ("PNG", "L", (3, 2))
    assert [image.getpixel((x, y)) for y in (0, 1) for x in (0, 1, 2)] == [0, 36, 97, 158, 219, 255]
    colours = np.stack([np.full((2, 2), share, np.float32) for share in (-1, 0, 1)])
    assert Image.open(io.BytesIO(task.png(colours))).getpixel((0, 0)) == (0, 128, 255)


def test_json_holds_pictures_in_base64_that_is_read_back() -> None:
    answer = answered(label="Bag", seed=1)
    text = json.loads(answer.model_dump_json())["pictures"][0]["image"]
    assert text.startswith("iVBORw0KGgo")
    assert task.Response.model_validate_json(answer.model_dump_json()) == answer


def test_a_class_that_the_model_does_not_know_is_refused_by_name() -> None:
    with pytest.raises(InvalidInput, match="label: 'Hat' is not one of Bag, Coat, Sneaker"):
        task.preprocess(task.Request(label="Hat"), ASSETS)


def test_a_class_number_of_a_client_is_within_the_classes() -> None:
    (item,) = task.preprocess(task.Request(), ASSETS)
    for number in (-1, 3):
        with pytest.raises(InvalidInput, match="below 3"):
            task.forward(Painter(), ASSETS, [{**item, "label": np.array(number)}])


@pytest.mark.parametrize(
    ("field", "value"),
    [("count", 0), ("count", 17), ("seed", -1), ("seed", 2**31), ("label", "x" * 101)],
)
def test_a_value_beyond_its_limit_is_refused(field: str, value: Any) -> None:
    with pytest.raises(ValidationError, match=field):
        task.Request(**{field: value})


def test_a_model_without_the_class_of_the_example_is_asked_for_any() -> None:
    request = task.example()
    assert task.adapt(request, ASSETS) is request
    assert task.adapt(request, task.Assets(["cat"])).label == ""


def test_the_classes_are_read_from_the_models_folder(tmp_path: Path) -> None:
    (tmp_path / "labels.json").write_text('["Bag", "Coat"]')
    assert task.load_assets(tmp_path) == task.Assets(["Bag", "Coat"])
