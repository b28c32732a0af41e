"""The keyword transformer: it learns, its window is a window, its teacher is heard."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from models.architectures.keyword_transformer import (
    PRESETS,
    build,
    graphs,
    loss,
    score,
    window_mask,
)
from models.datasets import Batch
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


@pytest.mark.parametrize("window", [None, 2])
def test_it_learns_to_tell_four_tones_apart(window: int | None) -> None:
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


def encoded_before_and_after(window: int | None) -> tuple[Tensor, Tensor]:
    """All positions, and all positions when another last frame is heard."""
    torch.manual_seed(0)
    model = build(replace(TESTING, window=window)).eval()
    heard = torch.randn(2, TESTING.frames, TESTING.mels)
    other = heard.clone()
    other[:, -1] += 1
    with torch.no_grad():
        return model.encode(heard), model.encode(other)


def test_truncated_attention_cannot_see_beyond_its_window() -> None:
    before, after = encoded_before_and_after(window=3)
    changed = (before - after).abs().amax(dim=(0, 2)) > 1e-6
    # The stem's two kernels of 3 with stride 2 reach 3 frames to either side of frame 4 p, and
    # each layer reaches `window` positions.
    first_in_stem = -(-(TESTING.frames - 1 - 3) // 4)
    first = first_in_stem - TESTING.layers * 3
    assert changed.tolist() == [position >= first for position in range(TESTING.positions)]


def test_full_attention_sees_everything() -> None:
    before, after = encoded_before_and_after(window=None)
    assert ((before - after).abs().amax(dim=(0, 2)) > 1e-6).all()


def test_a_window_keeps_neighbours_on_both_sides() -> None:
    assert window_mask(4, 1)[0, 0].int().tolist() == [
        [1, 1, 0, 0],
        [1, 1, 1, 0],
        [0, 1, 1, 1],
        [0, 0, 1, 1],
    ]


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
