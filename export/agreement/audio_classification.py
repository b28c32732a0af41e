"""audio-classification: features and logits beside those of the library, clip by clip."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from export.agreement import Agreement, difference
from export.agreement.recordings import RATE_HZ, file_of, recordings
from models.architectures.wav2vec2 import Wav2Vec2
from models.reference import Reference
from models.teacher import Kwt1
from service import kinds
from service.tasks import task
from service.tasks.audio_classification import Request


def compare(folder: Path, model: Any, assets: Path) -> Agreement:
    """The library's extractor and class; of KWT-1 the released tensors as the teacher does."""
    if (folder / "kwt1_weights.npz").exists():
        return _compare_with_teacher(folder, model, assets)
    import transformers

    extractor = transformers.AutoFeatureExtractor.from_pretrained(folder)
    name = transformers.AutoConfig.from_pretrained(folder).architectures[0]
    theirs = getattr(transformers, name).from_pretrained(folder).eval()
    waveform = isinstance(model, Wav2Vec2)
    ours = kinds.task_of(task("audio-classification"), ["waveform" if waveform else "model"])
    known = ours.load_assets(assets)
    found = {"features": 0.0, "logits": 0.0}
    items, wanted = [], []
    for clip in recordings():
        # The library hears what fits into one window.
        item, *_ = ours.preprocess(Request(audio=file_of(clip)), known)
        given = extractor(clip, sampling_rate=RATE_HZ, return_tensors="pt")["input_values"]
        here = item["samples" if waveform else "features"]
        found["features"] = max(found["features"], difference("features", here, given[0]))
        items.append(item)
        with torch.inference_mode():
            wanted.append(theirs(given).logits[0])
    del theirs
    graphs = _graphs(model)
    for some in (items, items[:1]):
        rows = ours.forward(graphs, known, some)
        logits = np.stack([row["logits"] for row in rows])
        share = difference("logits", logits, torch.stack(wanted[: len(some)]))
        found["logits"] = max(found["logits"], share)
    return Agreement(found)


def _graphs(model: Any) -> Any:
    from models.catalogue import architecture

    return Reference(architecture(type(model).__module__.rpartition(".")[2]).graphs(model))


def _compare_with_teacher(folder: Path, model: Any, assets: Path) -> Agreement:
    teacher, ours = Kwt1(folder), task("audio-classification")
    known = ours.load_assets(assets)
    clips = [clip[:RATE_HZ] for clip in recordings() if len(clip) >= RATE_HZ]
    features = np.stack(
        [ours.preprocess(Request(audio=file_of(clip)), known)[0]["features"] for clip in clips]
    )
    samples = torch.from_numpy(np.stack(clips))
    with torch.inference_mode():
        probabilities = model(torch.from_numpy(features)).softmax(-1)
    found = {
        "features": difference("features", features, teacher.cepstrum(samples)),
        "probabilities": difference("probabilities", probabilities, teacher.probabilities(samples)),
    }
    return Agreement(found)
