"""The keyword transformer: it learns, with a window too, and its teacher is heard."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from models.architectures.keyword_transformer import PRESETS, build, graphs, loss, score
from models.datasets import Batch
from models.truncated import Window
from service.tasks.audio_classification import RATE_HZ, features

TONES_HZ = (300, 600, 1_200, 2_400)
TESTING = PRESETS["testing"]


def tones(count: int, seed: int) -> Batch:
    """Half a second of one of four tones in noise, somewhere in the second."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(4, size=count)
    samples = rng.normal(0, 0.02, (count, RATE_HZ))
    seconds = np.arange(RATE_HZ // 2) / RATE_HZ
    for clip, label in zip(samples, labels, strict=True):
        start = rng.integers(RATE_HZ // 2)
        hz = TONES_HZ[label] * rng.uniform(0.9, 1.1)
        clip[start : start + len(seconds)] += 0.1 * np.sin(2 * np.pi * hz * seconds)
    return {
        "features": torch.from_numpy(features(samples.astype(np.float32))),
        "labels": torch.from_numpy(np.eye(4, dtype=np.float32)[labels]),
    }


@pytest.mark.parametrize("window", [None, (2, 2), (3, 0)])
def test_it_learns_to_tell_four_tones_apart(window: Window | None) -> None:
    torch.manual_seed(0)
    model = build(replace(TESTING, window=window))
    stepper = torch.optim.AdamW(model.parameters(), lr=3e-3)
    train = tones(256, seed=0)
    for step in range(40):
        rows = slice(step % 8 * 32, (step % 8 + 1) * 32)
        loss(model, {name: values[rows] for name, values in train.items()}).backward()
        stepper.step()
        stepper.zero_grad()
    model.eval()
    with torch.no_grad():
        sums = score(model, tones(100, seed=1))
    assert sums["count"] == 100
    assert sums["correct"] >= 95


def test_a_teacher_that_disagrees_with_the_labels_changes_the_loss() -> None:
    torch.manual_seed(0)
    model = build(TESTING)
    batch = tones(8, seed=0)
    alone = loss(model, batch)
    opinion = model(batch["features"]).softmax(-1).detach()
    agreed = loss(model, batch | {"teacher": opinion})
    against = loss(model, batch | {"teacher": opinion.flip(-1).roll(1, 0)})
    assert agreed < against
    assert agreed != alone


def test_score_sums_over_clips() -> None:
    model = build(TESTING).eval()
    batch = tones(6, seed=0)
    with torch.no_grad():
        whole = score(model, batch)
        parts = [
            score(model, {name: values[rows] for name, values in batch.items()})
            for rows in (slice(0, 4), slice(4, 6))
        ]
    for name, value in whole.items():
        assert value == pytest.approx(sum(part[name] for part in parts), rel=1e-4)


def test_with_a_window_it_has_a_graph_for_streams() -> None:
    names = [graph.name for graph in graphs(build(replace(TESTING, window=(2, 1))).eval())]
    assert names == ["model", "attention", "stream"]


def test_its_graph_takes_what_the_contract_says() -> None:
    model = build(TESTING).eval()
    graph, _ = graphs(model)
    assert graph.name == "model"
    for case in graph.cases:
        inputs = graph.inputs(**case)
        assert list(inputs) == list(graph.contract.inputs)
        axes = graph.contract.inputs["features"].axes
        assert inputs["features"].shape == (case["batch"], *axes[1:])
        assert model(*inputs.values()).shape == (case["batch"], TESTING.classes)
