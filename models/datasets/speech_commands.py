"""Speech Commands clips → batches of log-mel features, class probabilities and teacher's opinions.

Training clips are few (172 speakers), so every pass over them sees other audio: moved, resampled,
spliced and noisy. That pool is made once and kept in the run folder; masks and mixtures of two
clips are drawn anew for every batch.
"""

import csv
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import soxr
import torch
from jaxtyping import Bool, Float, Float32, Int
from numpy import ndarray

from models.datasets import Batch, Example, write_labels
from models.recipe import SEED
from models.teacher import Kwt1
from service.audio import decode
from service.tasks.audio_classification import RATE_HZ, WINDOW_SAMPLES, Request, features

SOURCE = (
    "https://huggingface.co/datasets/google/speech_commands, a part of the official 12-label test "
    "set of version 0.02, split by speaker"
)
"""Accuracies on it do not compare with those on the official splits."""
LICENCE = "CC BY 4.0, Pete Warden, Google; labelled further by KWT-1 (ARM, Apache-2.0)"
CLASSES = (
    "_silence_", "_unknown_", "yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go",
)  # fmt: skip
SILENCE = 0
DEV_SPEAKERS = 20
DEV_SILENCES = 29
CHUNK = 128


@dataclass(frozen=True)
class Clips:
    """Clips of one second; silences have no speaker."""

    samples: Float32[ndarray, "clips samples"]
    labels: Int[ndarray, " clips"]
    speakers: tuple[str, ...]

    def of(self, chosen: Bool[ndarray, " clips"]) -> "Clips":
        kept = tuple(s for s, keep in zip(self.speakers, chosen, strict=True) if keep)
        return Clips(self.samples[chosen], self.labels[chosen], kept)


def read_clips(folder: Path, part: str) -> Clips:
    """All clips of `train` or `test`, decoded as the service decodes them."""
    with (folder / "labels.tsv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file, delimiter="\t") if row["split"] == part]
    samples = np.zeros((len(rows), WINDOW_SAMPLES), np.float32)
    with zipfile.ZipFile(folder / "clips.zip") as archive:
        for clip, row in zip(samples, rows, strict=True):
            decoded = decode(
                archive.read(row["file"]), field=row["file"], rate_hz=RATE_HZ, max_duration_s=1
            )
            clip[: len(decoded)] = decoded
    labels = np.array([CLASSES.index(row["label"]) for row in rows])
    return Clips(samples, labels, tuple(row["speaker"] for row in rows))


def in_dev(clips: Clips, *, seed: int) -> Bool[ndarray, " clips"]:
    """True for the clips of 20 speakers and for 29 silences, the same for one seed."""
    rng = np.random.default_rng(seed)
    names = sorted(set(clips.speakers) - {""})
    held_out = set(rng.choice(names, DEV_SPEAKERS, replace=False))
    silences = rng.choice(np.flatnonzero(clips.labels == SILENCE), DEV_SILENCES, replace=False)
    spoken = np.array([speaker in held_out for speaker in clips.speakers])
    return spoken | np.isin(np.arange(len(spoken)), silences)


def moved(
    clip: Float32[ndarray, " samples"], rng: np.random.Generator
) -> Float32[ndarray, " samples"]:
    """Resampled to another pitch and speed (15 %), and up to 100 ms earlier or later."""
    fast = soxr.resample(clip, RATE_HZ * rng.uniform(0.87, 1.15), RATE_HZ, quality="LQ")
    out = np.zeros_like(clip)
    start = (len(out) - len(fast)) // 2 + int(rng.integers(-RATE_HZ // 10, RATE_HZ // 10))
    source, target = max(0, -start), max(0, start)
    size = min(len(fast) - source, len(out) - target)
    out[target : target + size] = fast[source : source + size]
    return out


def augmented(
    clips: Clips, row: int, rng: np.random.Generator, *, splices: float
) -> tuple[Float32[ndarray, " samples"], bool]:
    """A new version of a clip, and whether its label still holds.

    A share of the words, `splices`, is cut and continued by another clip, which gives words that
    nobody says: only a teacher can label those. Noise is a silence at a signal-to-noise ratio of
    5 to 35 dB.
    """
    silences = np.flatnonzero(clips.labels == SILENCE)
    other = clips.samples[rng.choice(silences)]
    noise = np.roll(moved(other, rng), rng.integers(WINDOW_SAMPLES))
    if clips.labels[row] == SILENCE:
        clip = np.roll(clips.samples[row], rng.integers(WINDOW_SAMPLES))
        return (clip + noise * rng.uniform()) * 10 ** rng.uniform(-2, 0.2), True
    clip, spliced = clips.samples[row], rng.random() < splices
    if spliced:
        cut = int(rng.integers(WINDOW_SAMPLES // 3, WINDOW_SAMPLES * 2 // 3))
        clip = np.concatenate([clip[:cut], clips.samples[rng.integers(len(clips.samples))][cut:]])
    clip = moved(clip, rng)
    ratio = np.sqrt(np.square(clip).mean() / max(np.square(noise).mean(), 1e-9))
    noise = noise * ratio * 10 ** (-rng.uniform(5, 35) / 20)
    return (clip + noise) * 10 ** rng.uniform(-1, 0.2), not spliced


Pool = Mapping[str, ndarray]
"""`features` (float16), `labels` and `teacher` (class probabilities), a row per clip."""


def one_hot(labels: Int[ndarray, " clips"]) -> Float32[ndarray, "clips classes"]:
    rows: Float32[ndarray, "clips classes"] = np.eye(len(CLASSES), dtype=np.float32)[labels]
    return rows


def make_pool(clips: Clips, *, passes: int, seed: int, teacher: Kwt1 | None) -> dict[str, ndarray]:
    """`passes` augmented versions of every clip, labelled and taught.

    The teacher's opinion counts unless a label that holds contradicts it.
    """
    splices = 0.0 if teacher is None else 0.1
    rows = np.tile(np.arange(len(clips.labels)), passes)
    parts = []
    for start in range(0, len(rows), CHUNK):
        chunk = rows[start : start + CHUNK]
        made = [
            augmented(clips, row, np.random.default_rng((seed, start + index)), splices=splices)
            for index, row in enumerate(chunk)
        ]
        samples = np.stack([clip for clip, _ in made]).astype(np.float32)
        labels = opinions = one_hot(clips.labels[chunk])
        holds = np.array([kept for _, kept in made])[:, None]
        if teacher is not None:
            asked = teacher.probabilities(torch.from_numpy(samples)).numpy()
            wrong = (asked.argmax(-1) != clips.labels[chunk])[:, None]
            opinions = np.where(holds & wrong, labels, asked)
            labels = np.where(holds, labels, asked)
        parts.append((features(samples).astype(np.float16), labels, opinions))
    columns = zip(("features", "labels", "teacher"), zip(*parts, strict=True), strict=True)
    return {name: np.concatenate(part) for name, part in columns}


def masked(
    x: Float32[ndarray, "batch frames mels"], rng: np.random.Generator
) -> Float32[ndarray, "batch frames mels"]:
    """Two bands of up to 10 mels and two gaps of up to 200 ms set to 0 (Park et al. 2019)."""
    for axis, longest in ((1, 20), (1, 20), (2, 10), (2, 10)):
        places = np.arange(x.shape[axis])
        start = rng.integers(0, x.shape[axis], (len(x), 1))
        inside = (places >= start) & (places < start + rng.integers(0, longest + 1, (len(x), 1)))
        x = np.where(inside[:, :, None] if axis == 1 else inside[:, None, :], 0, x)
    return x


class SpeechCommands:
    """A pool in a new order in every pass, masked and mixed (training), or clips as they are."""

    def __init__(self, pool: Pool, *, batch_size: int, seed: int, training: bool) -> None:
        self.pool, self.batch_size = pool, batch_size
        self.seed, self.training = seed, training
        self._pass_order = lru_cache(maxsize=2)(self._order)

    def __len__(self) -> int:
        """Batches in a pass; training drops the remainder, which another pass will see."""
        whole, rest = divmod(len(self.pool["labels"]), self.batch_size)
        return whole + (rest > 0 and not self.training)

    def _order(self, epoch: int) -> Int[ndarray, " clips"]:
        clips = len(self.pool["labels"])
        if not self.training:
            return np.arange(clips)
        return np.random.default_rng((self.seed, 0, epoch)).permutation(clips)

    def batch(self, step: int) -> Batch:
        epoch, index = divmod(step, len(self))
        rows = self._pass_order(epoch)[index * self.batch_size : (index + 1) * self.batch_size]
        arrays = {name: array[rows].astype(np.float32) for name, array in self.pool.items()}
        if self.training:
            rng = np.random.default_rng((self.seed, 1, step))
            arrays["features"] = masked(arrays["features"], rng)
            arrays = mixed(arrays, rng)
        return {name: torch.from_numpy(array) for name, array in arrays.items()}


def mixed(
    arrays: Mapping[str, Float[ndarray, " batch *rest"]], rng: np.random.Generator
) -> dict[str, Float[ndarray, " batch *rest"]]:
    """Each row mixed with another, mostly by little (Zhang et al. 2018, "mixup")."""
    share = rng.beta(0.2, 0.2, len(arrays["labels"])).astype(np.float32)
    share = np.minimum(share, 1 - share)
    return {
        name: array + (array[::-1] - array) * share.reshape(-1, *[1] * (array.ndim - 1))
        for name, array in arrays.items()
    }


def load(
    data_dir: Path,
    split: str,
    *,
    run_dir: Path,
    seed: int,
    options: Mapping[str, float | int | str],
) -> SpeechCommands:
    """`train`, `dev` (20 speakers held out of train) or `test` (27 speakers).

    The names of the classes go to `run_dir`/assets/labels.json, the pool to `run_dir`/pool-*.npz.
    With `teacher` in the options, KWT-1 is read from `data_dir`/kwt1.
    """
    write_labels(run_dir, CLASSES)
    clips = read_clips(data_dir / "speech_commands", "test" if split == "test" else "train")
    if split != "test":
        dev = in_dev(clips, seed=seed)
        clips = clips.of(dev if split == "dev" else ~dev)
    if split == "train":
        passes, taught = int(options["passes"]), int(options["teacher"])
        path = run_dir / f"pool-{passes}-{taught}-{seed}.npz"
        if not path.exists():
            teacher = Kwt1(data_dir / "kwt1") if taught else None
            made = make_pool(clips, passes=passes, seed=seed, teacher=teacher)
            partial = path.with_suffix(".partial.npz")
            np.savez(partial, allow_pickle=False, **made)
            partial.replace(path)
        with np.load(path) as file:
            pool = {name: file[name] for name in file.files}
    else:
        pool = {"features": features(clips.samples), "labels": one_hot(clips.labels)}
    return SpeechCommands(
        pool, batch_size=int(options["batch_size"]), seed=seed, training=split == "train"
    )


def examples(data_dir: Path, split: str) -> Iterator[Example]:
    """One request per clip of `dev` or `test`, as its FLAC file."""
    folder = data_dir / "speech_commands"
    part = {"dev": "train", "test": "test"}[split]
    with (folder / "labels.tsv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file, delimiter="\t") if row["split"] == part]
    if split == "dev":
        chosen = in_dev(read_clips(folder, part), seed=SEED)
        rows = [row for row, kept in zip(rows, chosen, strict=True) if kept]
    with zipfile.ZipFile(folder / "clips.zip") as archive:
        for row in rows:
            yield Example(split, Request(audio=archive.read(row["file"]), top_k=1), [row["label"]])
