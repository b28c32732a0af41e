"""wav2vec 2.0 and HuBERT with a CTC head (facebook/*-960h, *-ls960-ft) → our wav2vec 2.0."""

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from models.architectures.wav2vec2 import Config
from models.checkpoint import BadCheckpoint
from models.families import (
    PREPROCESSING,
    Place,
    joined_linear,
    linear,
    preprocessing,
    required,
    same,
    write_json,
)
from models.imported import Folder
from service.kinds.automatic_speech_recognition_ctc import letters
from service.waveform import normalises

MODEL_TYPES = ("Wav2Vec2ForCTC", "HubertForCTC")
TASK = "automatic-speech-recognition"
ARCHITECTURE = "wav2vec2"
UNUSED = ("masked_spec_embed",)
VOCABULARY = ("vocab.json", "tokenizer_config.json")


def config(folder: Folder) -> Config:
    return replace(network(folder), classes=folder.config["vocab_size"], head="ctc")


def network(folder: Folder) -> Config:
    """All but the head."""
    said = folder.config
    required(
        folder,
        hidden_act="gelu",
        feat_extract_activation="gelu",
        add_adapter=False,
        adapter_attn_dim=None,
        feat_proj_layer_norm=True,
        conv_pos_batch_norm=False,
    )
    if said["feat_extract_norm"] not in ("group", "layer"):
        raise BadCheckpoint(f"{said.path}: feat_extract_norm {said['feat_extract_norm']!r}")
    try:
        normalises(preprocessing(folder, "feature_extractor"))
    except ValueError as error:
        raise BadCheckpoint(f"{folder.path}: {error}") from error
    return Config(
        classes=0,
        width=said["hidden_size"],
        heads=said["num_attention_heads"],
        hidden=said["intermediate_size"],
        layers=said["num_hidden_layers"],
        channels=tuple(said["conv_dim"]),
        kernels=tuple(said["conv_kernel"]),
        strides=tuple(said["conv_stride"]),
        convolution_bias=said["conv_bias"],
        norms="first" if said["feat_extract_norm"] == "group" else "all",
        position_kernel=said["num_conv_pos_embeddings"],
        position_groups=said["num_conv_pos_embedding_groups"],
        pre_norm=said["do_stable_layer_norm"],
        norm_eps=said["layer_norm_eps"],
    )


def _normed(length: Tensor, direction: Tensor) -> Tensor:
    """Weight normalisation (Salimans and Kingma 2016) over all but the kernel's positions."""
    norm: Tensor = torch.linalg.vector_norm(direction, dim=(0, 1), keepdim=True)
    return length * direction / norm


def stem(prefix: str, of: Config) -> dict[str, Place]:
    made: dict[str, Place] = {}
    for index in range(len(of.kernels)):
        ours, theirs = f"stem.{index}", f"{prefix}.feature_extractor.conv_layers.{index}"
        made[f"{ours}.convolution.weight"] = same(f"{theirs}.conv.weight")
        if of.convolution_bias:
            made[f"{ours}.convolution.bias"] = same(f"{theirs}.conv.bias")
        if of.norms == "all" or not index:
            made |= linear(f"{ours}.norm", f"{theirs}.layer_norm")
    return made


def layer(ours: str, theirs: str) -> dict[str, Place]:
    parts = (f"{theirs}.attention.{part}_proj" for part in "qkv")
    return {
        **joined_linear(f"{ours}.self_attention.query_key_value", *parts),
        **linear(f"{ours}.self_attention.out", f"{theirs}.attention.out_proj"),
        **linear(f"{ours}.self_attention_norm", f"{theirs}.layer_norm"),
        **linear(f"{ours}.feed_forward.0", f"{theirs}.feed_forward.intermediate_dense"),
        **linear(f"{ours}.feed_forward.2", f"{theirs}.feed_forward.output_dense"),
        **linear(f"{ours}.feed_forward_norm", f"{theirs}.final_layer_norm"),
    }


def encoder(folder: Folder, of: Config) -> dict[str, Place]:
    """All but the head."""
    prefix = folder.config["model_type"]
    positions = f"{prefix}.encoder.pos_conv_embed.conv"
    pair = tuple(f"{positions}.parametrizations.weight.original{i}" for i in (0, 1))
    if not folder.tensors().keys() >= set(pair):
        pair = (f"{positions}.weight_g", f"{positions}.weight_v")
    made = {
        **stem(prefix, of),
        **linear("features_norm", f"{prefix}.feature_projection.layer_norm"),
        **linear("features", f"{prefix}.feature_projection.projection"),
        "positions.weight": Place(pair, _normed),
        "positions.bias": same(f"{positions}.bias"),
        **linear("norm", f"{prefix}.encoder.layer_norm"),
    }
    for index in range(of.layers):
        made |= layer(f"layers.{index}", f"{prefix}.encoder.layers.{index}")
    return made


def places(folder: Folder, of: Config) -> Mapping[str, Place]:
    return {**encoder(folder, of), **linear("head", "lm_head")}


def assets(folder: Folder, into: Path) -> None:
    """The vocabulary, and how a recording is scaled."""
    vocab, said = (folder.json(name) for name in VOCABULARY)
    try:
        letters(vocab.content, said.content)
    except ValueError as error:
        raise BadCheckpoint(f"{folder.path}: {error}") from error
    for name in VOCABULARY:
        shutil.copy(folder.file(name), into)
    write_json(into / PREPROCESSING, preprocessing(folder, "feature_extractor"))
