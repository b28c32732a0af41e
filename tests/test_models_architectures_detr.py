"""DETR: queries see the picture and each other, layers refine, groups learn side by side."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from fake_garments import SHAPES, drawn, write_garments
from torch import Tensor

from models.architectures import detr
from models.catalogue import architecture
from models.datasets import garment_scenes
from models.score import IGNORE
from models.train import fit, train

TESTING = detr.PRESETS["testing"]
PIXELS = (3, TESTING.side, TESTING.side)


def batch(*labels: list[int]) -> dict[str, Tensor]:
    sizes = (len(labels), len(labels[0]))
    low = torch.rand(*sizes, 2) * 0.5
    boxes = torch.cat([low + 0.2, torch.rand(*sizes, 2) * 0.3 + 0.1], dim=-1)
    return {"boxes": boxes, "labels": torch.tensor(labels)}


def test_score_counts_what_is_found_by_name_and_place() -> None:
    there = batch([1, 2], [3, IGNORE])

    class Known(torch.nn.Module):
        def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
            logits = torch.full((2, 2, TESTING.classes + 1), -9.0)
            logits[0, 0, 1] = logits[0, 1, 5] = logits[1, 0, 3] = logits[1, 1, -1] = 9
            boxes = there["boxes"].clone()
            boxes[1, 0, :2] += 0.5
            return logits, boxes

    sums = detr.score(Known(), {**there, "pixels": torch.zeros(2)})
    assert (sums["count"], sums["correct"]) == (3, 1)
    assert sums["loss"] > 0


@pytest.fixture
def model() -> detr.Detr:
    model = detr.build(TESTING)
    torch.nn.init.normal_(model.content)
    torch.nn.init.normal_(model.box[-1].weight)
    return model.eval()


def test_a_picture_is_answered_alike_in_any_batch(model: detr.Detr) -> None:
    pixels = torch.randn(5, *PIXELS)
    for alone, together in zip(
        zip(*(model(row[None]) for row in pixels), strict=True), model(pixels), strict=True
    ):
        torch.testing.assert_close(torch.cat(alone), together)


def test_each_group_answers_as_if_it_were_alone(model: detr.Detr) -> None:
    pixels = torch.randn(3, *PIXELS)
    taught = model.taught(pixels)[-1]
    for group in range(TESTING.groups):
        only = detr.build(replace(TESTING, groups=1)).eval()
        state = model.state_dict()
        for name in ("content", "anchors"):
            state[name] = state[name][group : group + 1]
        only.load_state_dict(state)
        for whole, alone in zip(taught, only(pixels), strict=True):
            torch.testing.assert_close(whole.unflatten(0, (3, -1))[:, group], alone)


def test_it_tells_where_its_last_layer_looks_for_each_guess(model: detr.Detr) -> None:
    pixels = torch.randn(3, *PIXELS)
    seen = []

    def note(of: torch.nn.Module, given: tuple[Tensor, ...], named: dict[str, Tensor]) -> None:
        assert isinstance(of, detr.Attention)
        query, key = of.query(given[0]) + of.place(given[1]), of.key(named["source"])
        key = key + of.place(named["source_at"])
        for one, other in zip(query.chunk(2, -1), key.chunk(2, -1), strict=True):
            seen.append((one @ other.mT / one.shape[-1] ** 0.5).softmax(-1))

    model.decoder[-1].picture.register_forward_pre_hook(note, with_kwargs=True)  # type: ignore[union-attr]
    logits, boxes, heads = model.explain(pixels)
    torch.testing.assert_close((logits, boxes), model(pixels))
    side = TESTING.side >> len(TESTING.stem)
    assert heads.shape == (3, TESTING.queries, TESTING.heads, side, side)
    torch.testing.assert_close(heads.flatten(3), torch.stack(seen[:2], dim=2))
    torch.testing.assert_close(heads.sum((3, 4)), torch.ones(heads.shape[:3]))


def test_a_query_sees_the_others_of_its_group(model: detr.Detr) -> None:
    pixels = torch.randn(1, *PIXELS)
    before = model(pixels)[0]
    with torch.no_grad():
        model.content[0, 1] += torch.randn(TESTING.width)
    assert (model(pixels)[0] - before)[0, 0].abs().max() > 1e-5


def test_a_query_looks_where_its_anchor_is(model: detr.Detr) -> None:
    pixels = torch.randn(1, *PIXELS)
    before = model(pixels)
    with torch.no_grad():
        model.anchors[0, 0, 0] += 1
    changed = [
        (after - was)[0, 0].abs().max() for after, was in zip(model(pixels), before, strict=True)
    ]
    assert min(changed) > 1e-4


def test_every_layer_and_the_encoder_are_taught(model: detr.Detr) -> None:
    model.train()
    there = batch([1, 2], [3, IGNORE])
    detr.loss(model, {**there, "pixels": torch.randn(2, *PIXELS)}).backward()
    assert len(model.taught(torch.randn(2, *PIXELS))) == 1 + TESTING.decoder_layers
    assert not [name for name, each in model.named_parameters() if each.grad is None]


def test_it_learns_some_scenes_by_heart(tmp_path: Path) -> None:
    kinds = np.arange(SHAPES)
    shapes = garment_scenes.Garments(np.stack([drawn(kind) for kind in kinds]), kinds)
    scenes = garment_scenes.scenes(shapes, "train", 8, seed=3)
    data = garment_scenes.Fixed(scenes, batch_size=8)
    recipe = replace(detr.RECIPES["garments-smoke"], steps=120, evaluate_every_steps=120)
    of, model = architecture("detr"), detr.build(TESTING)
    metrics = fit(of, recipe, model, (data, data), run_dir=tmp_path)
    assert metrics["dev_accuracy"] >= 0.9


def test_the_smoke_recipe_is_trained_from_the_files_of_the_garments(tmp_path: Path) -> None:
    write_garments(tmp_path)
    recipe = replace(detr.RECIPES["garments-smoke"], steps=2)
    metrics = train(architecture("detr"), recipe, data_dir=tmp_path, run_dir=tmp_path / "run")
    assert metrics["dev_loss"] < 20


def test_the_graph_keeps_its_contract(model: detr.Detr) -> None:
    graph, _ = detr.graphs(model)
    for case in graph.cases:
        inputs = graph.inputs(**case)
        assert list(inputs) == list(graph.contract.inputs)
        logits, boxes = graph.module(*inputs.values())
        assert logits.shape == (case["batch"], TESTING.queries, TESTING.classes + 1)
        assert boxes.shape == (case["batch"], TESTING.queries, 4)
