"""Speech Commands: the splits share no speaker, and batches follow from seed and step alone."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from numpy import ndarray

from models.datasets import speech_commands
from models.datasets.speech_commands import (
    CLASSES,
    SILENCE,
    Clips,
    SpeechCommands,
    augmented,
    in_dev,
    load,
    make_pool,
    masked,
    mixed,
    moved,
    one_hot,
)

RATE_HZ = 16_000
OPTIONS = {"batch_size": 8, "passes": 2, "teacher": 0}


def clips(count: int = 48) -> Clips:
    """Tones of 24 speakers; every fourth clip is a silence without a speaker."""
    rng = np.random.default_rng(0)
    seconds = np.arange(RATE_HZ) / RATE_HZ
    labels = np.where(np.arange(count) % 4 == 0, SILENCE, np.arange(count) % len(CLASSES))
    samples = 0.3 * np.sin(2 * np.pi * 200 * (labels[:, None] + 1) * seconds)
    samples[labels == SILENCE] = rng.normal(0, 0.01, ((labels == SILENCE).sum(), RATE_HZ))
    speakers = tuple(
        "" if label == SILENCE else f"speaker{index % 24}" for index, label in enumerate(labels)
    )
    return Clips(samples.astype(np.float32), labels, speakers)


@pytest.fixture
def data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The data set's own files with 96 clips, 24 of them for testing."""
    monkeypatch.setattr(speech_commands, "DEV_SPEAKERS", 4)
    monkeypatch.setattr(speech_commands, "DEV_SILENCES", 3)
    folder = tmp_path / "speech_commands"
    folder.mkdir()
    made = clips(96)
    lines = ["file\tlabel\tspeaker\tsplit"]
    with zipfile.ZipFile(folder / "clips.zip", "w") as archive:
        for index, (samples, label) in enumerate(zip(made.samples, made.labels, strict=True)):
            buffer = io.BytesIO()
            # Some clips of the data set are shorter than a second.
            soundfile.write(buffer, samples[: RATE_HZ - 10 * index], RATE_HZ, format="FLAC")
            name = f"{CLASSES[label]}/{index}.flac"
            archive.writestr(name, buffer.getvalue())
            speaker = made.speakers[index]
            split = "test" if index % 24 >= 18 else "train"
            lines.append(f"{name}\t{CLASSES[label]}\t{speaker}\t{split}")
    (folder / "labels.tsv").write_text("\n".join(lines) + "\n")
    return tmp_path


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(
        torch.equal(value, second[name]) for name, value in first.items()
    )


def test_dev_holds_whole_speakers_and_follows_from_the_seed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(speech_commands, "DEV_SPEAKERS", 4)
    monkeypatch.setattr(speech_commands, "DEV_SILENCES", 3)
    made = clips()
    dev = in_dev(made, seed=1)
    held_out, rest = set(made.of(dev).speakers) - {""}, set(made.of(~dev).speakers) - {""}
    assert len(held_out) == 4
    assert not held_out & rest
    assert (made.of(dev).labels == SILENCE).sum() == 3
    np.testing.assert_array_equal(dev, in_dev(made, seed=1))
    assert (dev != in_dev(made, seed=2)).any()


def test_all_splits_load_and_a_kept_pool_is_the_same_pool(
    data_folder: Path, tmp_path: Path
) -> None:
    sets = {}
    for split in ("train", "dev", "test"):
        sets[split] = load(data_folder, split, run_dir=tmp_path, seed=5, options=OPTIONS)
    first = sets["train"]
    assert (tmp_path / "assets" / "labels.json").exists()
    kept = load(data_folder, "train", run_dir=tmp_path, seed=5, options=OPTIONS)
    (pool,) = tmp_path.glob("pool-*.npz")
    pool.unlink()
    made_again = load(data_folder, "train", run_dir=tmp_path, seed=5, options=OPTIONS)
    for step in (0, 1, len(first), 3 * len(first) + 1):
        assert same(first.batch(step), kept.batch(step))
        assert same(first.batch(step), made_again.batch(step))
    assert sum(len(sets["test"].batch(step)["labels"]) for step in range(len(sets["test"]))) == 24
    assert set(sets["dev"].batch(0)) == {"features", "labels"}


def test_batches_do_not_depend_on_the_batches_before() -> None:
    pool = make_pool(clips(), passes=1, seed=3, teacher=None)
    forwards = SpeechCommands(pool, batch_size=8, seed=3, training=True)
    backwards = SpeechCommands(pool, batch_size=8, seed=3, training=True)
    wanted = [forwards.batch(step) for step in range(14)]
    for step in reversed(range(14)):
        assert same(wanted[step], backwards.batch(step))
    assert not same(wanted[0], wanted[len(forwards)])
    other = SpeechCommands(pool, batch_size=8, seed=4, training=True)
    assert not same(wanted[0], other.batch(0))


def test_a_pass_over_dev_is_every_clip_once_and_untouched() -> None:
    made = clips(20)
    pool = {"features": made.samples[:, :100, None], "labels": one_hot(made.labels)}
    dev = SpeechCommands(pool, batch_size=8, seed=3, training=False)
    assert len(dev) == 3
    seen = torch.cat([dev.batch(step)["features"] for step in range(len(dev))])
    np.testing.assert_array_equal(seen.numpy(), pool["features"])


def test_moving_changes_pitch_and_place_but_not_length() -> None:
    made = clips()
    rng = np.random.default_rng(0)
    peaks_hz = [np.abs(np.fft.rfft(moved(made.samples[1], rng))).argmax() for _ in range(20)]
    assert moved(made.samples[1], rng).shape == (RATE_HZ,)
    assert 400 / 1.2 < min(peaks_hz) < 390
    assert 410 < max(peaks_hz) < 400 * 1.2


def test_noise_leaves_the_word_louder() -> None:
    made = clips()
    for seed in range(10):
        clip, holds = augmented(made, 1, np.random.default_rng(seed), splices=0.0)
        assert holds
        spectrum = np.square(np.abs(np.fft.rfft(clip)))
        # The tone at 400 Hz, resampled by up to 15 %, keeps most of the energy.
        assert spectrum[330:480].sum() > 0.6 * spectrum.sum()


class ToldTeacher:
    """A teacher with one opinion on everything."""

    def __init__(self, opinion: int) -> None:
        self.opinion = opinion

    def probabilities(self, samples: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(one_hot(np.full(len(samples), self.opinion))) * 0.5 + 0.5 / 12


def test_a_teacher_counts_where_no_label_contradicts(monkeypatch: pytest.MonkeyPatch) -> None:
    made = clips()
    opinion = 5
    pool = make_pool(made, passes=4, seed=0, teacher=ToldTeacher(opinion))  # type: ignore[arg-type]
    labels = np.tile(made.labels, 4)
    soft = ToldTeacher(opinion).probabilities(torch.zeros(1)).numpy()[0]
    taught = (pool["teacher"] == soft).all(axis=1)
    hard = (pool["teacher"] == one_hot(labels)).all(axis=1)
    assert (taught | hard).all()
    assert taught[labels == opinion].all()
    # Splices have no label of their own, so the teacher labels them.
    spliced = taught & (labels != opinion)
    assert 0.03 < spliced.sum() / (labels != SILENCE).sum() < 0.2
    np.testing.assert_allclose(pool["labels"][spliced], np.tile(soft, (spliced.sum(), 1)))


def test_masks_are_bands_of_zeros() -> None:
    heard = masked(np.ones((64, 98, 64), np.float32), np.random.default_rng(0))
    silent_frames = (heard == 0).all(axis=2).sum(axis=1)
    silent_mels = (heard == 0).all(axis=1).sum(axis=1)
    assert silent_frames.max() <= 40
    assert 5 < silent_frames.mean() < 25
    assert silent_mels.max() <= 20
    assert 3 < silent_mels.mean() < 14


def test_mixing_keeps_each_rows_own_label_first_and_shares_of_one() -> None:
    labels = np.eye(8, dtype=np.float32)
    arrays: dict[str, ndarray] = {"features": labels[:, :, None] * 3, "labels": labels}
    result = mixed(arrays, np.random.default_rng(0))
    np.testing.assert_allclose(result["labels"].sum(axis=1), 1, rtol=1e-6)
    np.testing.assert_array_equal(result["labels"].argmax(axis=1), np.arange(8))
    np.testing.assert_allclose(result["features"][:, :, 0], 3 * result["labels"], rtol=1e-6)
    assert result["labels"].max(axis=1).min() < 1
