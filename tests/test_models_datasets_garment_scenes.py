"""Scenes of garments: boxes are where garments are, and no split or scene gives another away."""

from pathlib import Path

import numpy as np
import pytest
import torch
from fake_garments import SHAPES, drawn, write_garments

from models.datasets import fashion_mnist, garment_scenes
from models.score import IGNORE

OPTIONS = {"batch_size": 8, "scenes": 12}


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write_garments(folder)
    return folder


@pytest.fixture(scope="module")
def garments(data_dir: Path) -> garment_scenes.Garments:
    return garment_scenes.read(data_dir, "test")


def drawn_scenes(garments: garment_scenes.Garments) -> list[garment_scenes.Scene]:
    return garment_scenes.scenes(garments, "test", 60, seed=1)


def test_scenes_hold_one_to_four_garments_inside_the_picture(
    garments: garment_scenes.Garments,
) -> None:
    some = drawn_scenes(garments)
    assert {len(each.labels) for each in some} == {1, 2, 3, 4}
    for each in some:
        assert (each.boxes[:, :2] >= 0).all()
        assert (each.boxes[:, 2:] <= garment_scenes.SIDE).all()
        assert (each.boxes[:, :2] < each.boxes[:, 2:]).all()


def test_a_box_encloses_its_garment_closely(
    garments: garment_scenes.Garments, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(garment_scenes, "MOST_DISTRACTORS", 0)
    monkeypatch.setattr(garment_scenes, "NOISE", (0.0, 0.0))
    monkeypatch.setattr(garment_scenes, "MOST_GARMENTS", 1)
    monkeypatch.setattr(
        garment_scenes, "background", lambda rng: np.zeros((garment_scenes.SIDE,) * 2 + (3,))
    )
    for each in drawn_scenes(garments):
        rows, columns = (np.flatnonzero(each.image.max(2).any(axis)) for axis in (1, 0))
        assert each.boxes[0].tolist() == [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]


def test_no_garment_hides_much_of_another(garments: garment_scenes.Garments) -> None:
    for each in drawn_scenes(garments):
        for row, box in enumerate(each.boxes):
            assert not garment_scenes.hides_too_much(box, np.delete(each.boxes, row, axis=0))
    box = np.array([0, 0, 10, 10])
    assert garment_scenes.hides_too_much(box, np.array([[5, 0, 9, 30]]))
    assert not garment_scenes.hides_too_much(box, np.array([[8, 0, 30, 30]]))


def test_garments_keep_their_class(garments: garment_scenes.Garments) -> None:
    broad = {label: garment_scenes.cut_out(drawn(label)).shape[1] for label in range(SHAPES)}
    for each in drawn_scenes(garments):
        for (left, top, right, bottom), label in zip(each.boxes, each.labels, strict=True):
            assert (right - left) / (bottom - top) == pytest.approx(broad[label] / 20, abs=0.15)


def test_a_seed_gives_the_same_scenes_and_another_split_or_step_others(data_dir: Path) -> None:
    def first(split: str, step: int = 0) -> torch.Tensor:
        run_dir = data_dir / "run"
        data = garment_scenes.load(data_dir, split, run_dir=run_dir, seed=1, options=OPTIONS)
        return data.batch(step)["pixels"]

    for split in garment_scenes.SPLITS:
        assert torch.equal(first(split), first(split))
    assert not torch.equal(first("train"), first("train", 1))
    assert not torch.equal(first("dev"), first("test"))
    assert torch.equal(first("dev", 2), first("dev"))


def test_no_split_has_a_garment_of_another(tmp_path: Path) -> None:
    write_garments(tmp_path, rounds=510)
    train, dev = (garment_scenes.read(tmp_path, split) for split in ("train", "dev"))
    assert len(dev.images) == garment_scenes.DEV_GARMENTS
    assert len(train.images) + len(dev.images) == 510 * SHAPES
    assert (train.labels == np.arange(len(train.labels)) % SHAPES).all()


def test_a_batch_has_shares_of_the_side_and_room_for_more_garments(
    garments: garment_scenes.Garments,
) -> None:
    some = drawn_scenes(garments)[:8]
    batch = garment_scenes.collate(some)
    for row, each in enumerate(some):
        count = len(each.labels)
        boxes = batch["boxes"][row].numpy() * garment_scenes.SIDE
        lows = boxes[:count, :2] - boxes[:count, 2:] / 2
        assert lows == pytest.approx(each.boxes[:, :2], abs=1e-3)
        assert batch["labels"][row].tolist() == [*each.labels, *[IGNORE] * (4 - count)]
        assert not batch["boxes"][row, count:].any()


def test_requests_are_the_scenes_as_files_with_what_is_there(data_dir: Path) -> None:
    asked = next(iter(garment_scenes.examples(data_dir, "test")))
    seed = garment_scenes.SEED
    (scene,) = garment_scenes.scenes(garment_scenes.read(data_dir, "test"), "test", 1, seed)
    assert garment_scenes.png(scene.image) == asked.request.model_dump()["image"]
    (there,) = asked.references
    assert [garment_scenes.CLASSES.index(one.label) for one in there] == scene.labels.tolist()
    assert [list(one.box.model_dump().values()) for one in there] == scene.boxes.tolist()


def test_without_garments_it_says_where_they_are_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fashion_mnist, "DEBIAN", tmp_path / "none")
    with pytest.raises(FileNotFoundError, match="install dataset-fashion-mnist"):
        garment_scenes.read(tmp_path, "train")
