"""wav2vec 2.0 and HuBERT with a head for classes (superb/*, *-ks) → our wav2vec 2.0."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from models.architectures.wav2vec2 import Config
from models.families import Place, labels, linear, same, wav2vec2_ctc, write_assets
from models.imported import Folder

MODEL_TYPES = ("Wav2Vec2ForSequenceClassification", "HubertForSequenceClassification")
TASK = "audio-classification"
ARCHITECTURE = "wav2vec2"
UNUSED = wav2vec2_ctc.UNUSED


def config(folder: Folder) -> Config:
    return replace(
        wav2vec2_ctc.network(folder),
        classes=len(labels(folder)),
        head="waveform",
        projected=folder.config["classifier_proj_size"],
        weighted=folder.config["use_weighted_layer_sum"],
    )


def places(folder: Folder, of: Config) -> Mapping[str, Place]:
    made = wav2vec2_ctc.encoder(folder, of)
    if of.weighted:
        made["layer_weights"] = same("layer_weights")
    return {**made, **linear("projection", "projector"), **linear("head", "classifier")}


def assets(folder: Folder, into: Path) -> None:
    write_assets(folder, into, "feature_extractor")
