"""The audio-classification task: what it hears, how it decides, what it refuses."""

import io
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from numpy import ndarray
from pydantic import ValidationError

from service.errors import InvalidInput, Problem, TooLarge, UnsupportedMedia
from service.tasks import audio_classification as task
from service.tasks import task as find_task

LABELS = ("_silence_", "_unknown_", "yes", "no")
ASSETS = task.Assets(LABELS)


def recording(duration_s: float, rate_hz: int = task.RATE_HZ) -> bytes:
    rng = np.random.default_rng(0)
    samples = rng.uniform(-0.1, 0.1, round(duration_s * rate_hz))
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate_hz, format="FLAC")
    return buffer.getvalue()


def items_of(duration_s: float) -> list[dict[str, ndarray]]:
    return task.preprocess(task.Request(audio=recording(duration_s)), ASSETS)


def answer(logits: list[list[float]], top_k: int = 4) -> task.Response:
    items = [{"start_s": np.array(index / 2)} for index in range(len(logits))]
    rows = [{"logits": np.array(row, np.float32)} for row in logits]
    return task.postprocess(task.Request(audio=b"x", top_k=top_k), ASSETS, items, rows)


def test_the_file_has_all_that_a_task_needs() -> None:
    assert find_task("audio-classification").rpc == "ClassifyAudio"


@pytest.mark.parametrize(
    ("duration_s", "starts_s"),
    [
        (0.001, [0]),
        (0.4, [0]),
        (1, [0]),
        (1.2, [0, 0.2]),
        (2, [0, 0.5, 1]),
        (2.1, [0, 0.5, 1, 1.1]),
    ],
)
def test_every_part_of_a_recording_is_in_a_second_that_is_heard(
    duration_s: float, starts_s: list[float]
) -> None:
    items = items_of(duration_s)
    assert [float(item["start_s"]) for item in items] == starts_s
    for item in items:
        spec = task.CONTRACT["model"].inputs["features"]
        assert item["features"].shape == (task.FRAMES, task.MELS)
        assert item["features"].dtype == spec.dtype
        assert task.cost(item) == task.FRAMES


def test_a_short_recording_lies_in_the_middle_of_its_second() -> None:
    loudness = items_of(0.4)[0]["features"].mean(axis=1)
    heard = np.flatnonzero(loudness > (loudness.min() + loudness.max()) / 2)
    assert abs(heard.mean() - (task.FRAMES - 1) / 2) < 2
    assert 36 < len(heard) < 44


def test_features_are_one_scale_step_apart_per_factor_of_e_to_the_5() -> None:
    samples = np.random.default_rng(0).uniform(-0.01, 0.01, (2, 16_000)).astype(np.float32)
    samples[1] = samples[0] * np.exp(2.5)
    quiet, loud = task.features(samples)
    np.testing.assert_allclose(loud - quiet, 1, atol=1e-3)


def test_labels_come_likeliest_first_and_no_more_than_asked_for() -> None:
    labels = answer([[0, 1, 3, 2]], top_k=3).labels
    assert [label.label for label in labels] == ["yes", "no", "_unknown_"]
    odds = np.exp([3, 2, 1])
    np.testing.assert_allclose(
        [label.score for label in labels], odds / (odds.sum() + 1), atol=1e-6
    )


def test_more_labels_than_the_model_has_are_not_made_up() -> None:
    assert len(answer([[0, 1, 3, 2]], top_k=12).labels) == 4


def test_the_second_with_the_surest_keyword_decides() -> None:
    response = answer([[9, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 5], [0, 9, 0, 0]])
    assert response.labels[0].label == "no"
    assert response.start_s == 1.0


def test_without_a_keyword_the_answer_is_silence_or_other_speech() -> None:
    assert answer([[9, 0, 0, 0], [8, 0, 0, 0]]).labels[0].label == "_silence_"
    assert answer([[0, 9, 0, 0]]).labels[0].label == "_unknown_"


def test_huge_logits_do_not_overflow() -> None:
    assert answer([[0, 0, 1e4, -1e4]]).labels[0].score == 1.0


@pytest.mark.parametrize(
    ("audio", "error"),
    [
        (b"not audio", UnsupportedMedia),
        (recording(1)[:-500], InvalidInput),
        (recording(60.1, 4_000), TooLarge),
    ],
)
def test_a_bad_recording_is_refused_by_name(audio: bytes, error: type[Problem]) -> None:
    with pytest.raises(error) as refusal:
        task.preprocess(task.Request(audio=audio), ASSETS)
    assert refusal.value.field == "audio"


def test_the_longest_recording_is_heard() -> None:
    request = task.Request(audio=recording(60, 4_000))
    assert len(task.preprocess(request, ASSETS)) == 119


@pytest.mark.parametrize(
    "fields",
    [
        {"audio": b""},
        {"audio": b"x" * (task.MAX_AUDIO_BYTES + 1)},
        {"audio": b"x", "top_k": 0},
        {"audio": b"x", "top_k": 101},
        {"audio": b"x", "loud": True},
        {},
    ],
)
def test_fields_outside_their_limits_are_refused(fields: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        task.Request.model_validate(fields)


def test_assets_are_the_labels_in_the_order_of_the_classes(tmp_path: Path) -> None:
    (tmp_path / "labels.json").write_text(json.dumps(LABELS))
    assert task.load_assets(tmp_path) == ASSETS


def test_forward_runs_all_items_as_one_batch() -> None:
    batches = []

    def run(graph: str, inputs: dict[str, ndarray]) -> dict[str, ndarray]:
        batches.append((graph, inputs["features"].shape))
        return {"logits": inputs["features"].mean(axis=1)}

    rows = task.forward(SimpleNamespace(run=run), ASSETS, items_of(1.5))  # type: ignore[arg-type]
    assert batches == [("model", (2, task.FRAMES, task.MELS))]
    assert len(rows) == 2


def test_the_example_is_one_short_recording() -> None:
    items = task.preprocess(task.example(), ASSETS)
    assert 1 <= len(items) <= 3
    assert len(task.example().audio) < 30_000
