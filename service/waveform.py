"""samples at 16 kHz → what wav2vec 2.0 and HuBERT take, and batches of such inputs.

Source: Baevski et al. 2020, "wav2vec 2.0": a recording has mean 0 and deviation 1.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32
from numpy import ndarray
from numpy.typing import NDArray

from service.contract import Tensor
from service.explanation import either
from service.session import Runner, rows_of
from service.tasks import Item, Row, stack

NAME = "preprocessor_config.json"
RATE_HZ = 16_000
LEAST_SAMPLES = 400
"""What the convolutions make one frame of: 25 ms."""
MAX_BATCH_SAMPLES = 60 * RATE_HZ
"""In one run, padding included: the first convolution gives 6 MB for each second."""
INPUTS = {
    "samples": Tensor("float32", ("batch", "samples")),
    "lengths": Tensor("int64", ("batch",)),
}


def read(folder: Path) -> bool:
    return normalises(json.loads((folder / NAME).read_text(encoding="utf-8")))


def normalises(said: Mapping[str, Any]) -> bool:
    """Whether recordings are scaled, as `NAME` says; raises ValueError for another extractor."""
    kind, rate_hz = said.get("feature_extractor_type"), said.get("sampling_rate", RATE_HZ)
    if kind != "Wav2Vec2FeatureExtractor" or rate_hz != RATE_HZ:
        raise ValueError(f"{NAME}: no samples of {kind} at {rate_hz} Hz")
    return bool(said.get("do_normalize", True))


def normalised(samples: Float32[ndarray, " samples"]) -> Float32[ndarray, " samples"]:
    """Mean 0 and deviation 1."""
    scaled: Float32[ndarray, " samples"] = (samples - samples.mean()) / np.sqrt(
        samples.var() + 1e-7
    )
    return scaled


def heard(samples: Float32[ndarray, " samples"], *, scaled: bool) -> NDArray[np.float32]:
    """The input that a recording, or a part of one, becomes; silence follows what is too short."""
    samples = np.pad(samples, (0, max(0, LEAST_SAMPLES - len(samples))))
    return normalised(samples) if scaled else samples


EXPLAINED = {
    "rollout": Tensor("float32", ("batch", "frames")),
    "heads": Tensor("float32", ("batch", None, None, "frames")),
    "frames": Tensor("int64", ("batch",)),
}
"""What the graphs that explain tell besides: the weights, and how many frames of each row count."""


def answered(model: Runner, graph: str, items: Sequence[Item]) -> list[Row]:
    """`run` of a graph, or of the one that explains; its maps end where the item does."""
    rows = either(items, graph, partial(run, model))
    for row in rows:
        for name in ("rollout", "heads") if "rollout" in row else ():
            row[name] = row[name][..., : int(row["frames"])]
    return rows


def run(model: Runner, graph: str, items: Sequence[Item]) -> list[Row]:
    """What a graph makes of every item, in runs of about the same length."""
    rows: list[Row] = [{} for _ in items]
    for group in _alike([len(item["samples"]) for item in items]):
        chosen = [items[index] for index in group]
        lengths = np.array([len(item["samples"]) for item in chosen])
        given = {"samples": stack(chosen, "samples"), "lengths": lengths}
        for index, row in zip(group, rows_of(model.run(graph, given)), strict=True):
            rows[index] = row
    return rows


def _alike(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Numbers of items whose padded batch stays under the bound, from the shortest on."""
    group: list[int] = []
    for index in sorted(range(len(lengths)), key=lambda index: lengths[index]):
        if group and (len(group) + 1) * lengths[index] > MAX_BATCH_SAMPLES:
            yield group
            group = []
        group.append(index)
    if group:
        yield group
