"""Vision transformer: it learns, its tokens see where they are, its graph is what it states."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from models.architectures import vit
from models.catalogue import architecture
from models.train import train

PATCHES = vit.PRESETS["testing"]
CONVOLUTIONS = replace(PATCHES, stem=(8, 16), patch=2, pooling="attention")
MIRRORED = replace(CONVOLUTIONS, mirrored=True)
both = pytest.mark.parametrize(
    "config", [PATCHES, CONVOLUTIONS], ids=["patches-class-token", "convolutions-attention"]
)


@both
def test_it_learns_the_stripes_recipe(config: vit.Config, tmp_path: Path) -> None:
    of = replace(architecture("vit"), presets={"testing": config})
    metrics = train(of, vit.RECIPES["stripes"], data_dir=tmp_path, run_dir=tmp_path)
    assert metrics["dev_accuracy"] >= 0.95


@both
def test_a_picture_has_the_same_logits_in_any_batch(config: vit.Config) -> None:
    model = vit.build(config).eval()
    pixels = torch.randn(5, 3, 32, 32)
    alone = torch.cat([model(row[None]) for row in pixels])
    torch.testing.assert_close(model(pixels), alone)


@both
def test_logits_depend_on_where_things_are(config: vit.Config) -> None:
    model = vit.build(config).eval()
    torch.nn.init.normal_(model.positions)
    pixels = torch.randn(1, 3, 32, 32)
    turned = pixels.rot90(2, (2, 3))
    assert (model(pixels) - model(turned)).abs().max() > 1e-4


def test_a_mirrored_model_answers_a_picture_and_its_mirror_image_alike() -> None:
    mirrored = vit.build(MIRRORED).eval()
    once = vit.build(CONVOLUTIONS).eval()
    once.load_state_dict(mirrored.state_dict())
    pixels = torch.randn(3, 3, 32, 32)
    turned = pixels.flip(3)
    torch.testing.assert_close(mirrored(pixels), mirrored(turned))
    torch.testing.assert_close(mirrored(pixels), (once(pixels) + once(turned)) / 2)
    torch.testing.assert_close(mirrored.train()(pixels), once.train()(pixels))


@both
def test_the_graph_keeps_its_contract(config: vit.Config) -> None:
    model = vit.build(config).eval()
    graph, _ = vit.graphs(model)
    for case in graph.cases:
        inputs = graph.inputs(**case)
        assert list(inputs) == list(graph.contract.inputs)
        assert graph.module(*inputs.values()).shape == (case["batch"], config.classes)


def test_score_counts_the_pictures_that_are_right() -> None:
    class Known(torch.nn.Module):
        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            return torch.stack([9.0 - pixels, pixels], dim=1)

    batch = {"pixels": torch.tensor([0.0, 0.0, 9.0]), "labels": torch.tensor([0, 1, 1])}
    sums = vit.score(Known(), batch)
    assert (sums["count"], sums["correct"]) == (3, 2)
    assert sums["loss"] == pytest.approx(9.0, abs=0.01)


def test_the_shipped_size_stays_within_four_million_parameters() -> None:
    with torch.device("meta"):
        model = vit.build(vit.PRESETS["cifar"])
    assert sum(parameter.numel() for parameter in model.parameters()) <= 4_000_000
