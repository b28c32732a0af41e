"""Audio Spectrogram Transformer (MIT/ast-finetuned-*) → our spectrogram transformer."""

from collections.abc import Mapping
from pathlib import Path

import torch

from models.architectures.spectrogram_transformer import Config
from models.checkpoint import BadCheckpoint
from models.families import (
    Place,
    labels,
    linear,
    preprocessing,
    required,
    same,
    vit,
    write_assets,
)
from models.imported import Folder
from service.fbank import Fbank

MODEL_TYPES = ("audio-spectrogram-transformer",)
TASK = "audio-classification"
ARCHITECTURE = "spectrogram_transformer"
UNUSED = ()
PREFIX = "audio_spectrogram_transformer"


def config(folder: Folder) -> Config:
    said = folder.config
    required(folder, hidden_act="gelu")
    try:
        heard = Fbank(preprocessing(folder, "feature_extractor"))
    except (ValueError, KeyError) as error:
        raise BadCheckpoint(f"{folder.path}: {error}") from error
    required(folder, max_length=heard.frames, num_mel_bins=heard.filters.shape[1])
    return Config(
        classes=len(labels(folder)),
        width=said["hidden_size"],
        heads=said["num_attention_heads"],
        hidden=said["intermediate_size"],
        layers=said["num_hidden_layers"],
        mels=said["num_mel_bins"],
        frames=said["max_length"],
        patch=said["patch_size"],
        frequency_stride=said["frequency_stride"],
        time_stride=said["time_stride"],
        norm_eps=said["layer_norm_eps"],
    )


def places(folder: Folder, of: Config) -> Mapping[str, Place]:
    biased = folder.config.get("qkv_bias", True)
    embeddings = f"{PREFIX}.embeddings"
    learned = (f"{embeddings}.cls_token", f"{embeddings}.distillation_token")
    made = {
        **linear("tokens", f"{embeddings}.patch_embeddings.projection"),
        "learned": Place(learned, lambda *tokens: torch.cat(tokens, dim=1)),
        "positions": same(f"{embeddings}.position_embeddings"),
        **linear("norm", f"{PREFIX}.layernorm"),
        **linear("head_norm", "classifier.layernorm"),
        **linear("head", "classifier.dense"),
    }
    for index in range(of.layers):
        at = f"{PREFIX}.encoder.layer.{index}"
        made |= vit.layer(f"layers.{index}", at, width=of.width, biased=biased)
    return made


def assets(folder: Folder, into: Path) -> None:
    write_assets(folder, into, "feature_extractor")
