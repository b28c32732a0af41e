"""Whisper (openai/whisper-*, every size and language) → our Whisper."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from models.architectures.whisper import Config
from models.checkpoint import BadCheckpoint
from models.families import Place, _generation, linear, preprocessing, required, same
from models.imported import GENERATION, Folder
from service.log_mel import FRAMES, HOP, N_FFT, RATE_HZ

MODEL_TYPES = ("whisper",)
TASK = "automatic-speech-recognition"
ARCHITECTURE = "whisper"
UNUSED = ("proj_out.weight",)
"""The embedding once more."""
HONOURED = ("begin_suppress_tokens", "forced_decoder_ids")
"""The latter are the tokens of language and task, which requests choose."""
FEATURES = {"hop_length": HOP, "n_fft": N_FFT, "sampling_rate": RATE_HZ}


def config(folder: Folder) -> Config:
    said, heard = folder.config, preprocessing(folder, "feature_extractor")
    required(
        folder,
        activation_function="gelu",
        scale_embedding=False,
        tie_word_embeddings=True,
        decoder_ffn_dim=said["encoder_ffn_dim"],
        decoder_attention_heads=said["encoder_attention_heads"],
        max_source_positions=FRAMES // 2,
    )
    others = {name: heard[name] for name, usual in FEATURES.items() if heard[name] != usual}
    if others or heard["feature_size"] != said["num_mel_bins"]:
        raise BadCheckpoint(f"{folder.path}: features of {others or heard['feature_size']} bands")
    return Config(
        vocab=said["vocab_size"],
        width=said["d_model"],
        heads=said["encoder_attention_heads"],
        hidden=said["encoder_ffn_dim"],
        encoder_layers=said["encoder_layers"],
        decoder_layers=said["decoder_layers"],
        mels=said["num_mel_bins"],
        frames=2 * said["max_source_positions"],
        max_len=said["max_target_positions"],
        alignment_heads=alignment_heads(folder),
    )


def alignment_heads(folder: Folder) -> list[list[int]]:
    """What `generation_config.json` says of them, if it does; raises `BadCheckpoint`."""
    if not (folder.path / GENERATION).exists():
        return []
    layers, heads = (folder.config[f"decoder_{name}"] for name in ("layers", "attention_heads"))
    found: list[list[int]] = folder.json(GENERATION).get("alignment_heads") or []
    for pair in found:
        if len(pair) != 2 or not (0 <= pair[0] < layers and 0 <= pair[1] < heads):
            raise BadCheckpoint(
                f"{folder.path / GENERATION}: alignment_heads has {pair}, the decoder {layers} "
                f"layers of {heads} heads"
            )
    return found


def _unbiased_key(*biases: Tensor) -> Tensor:
    """Biases of query and value, or of the value alone, with zeros for the key before the value."""
    *query, value = biases
    return torch.cat([*query, torch.zeros_like(value), value])


def attention(ours: str, theirs: str, parts: str) -> dict[str, Place]:
    """Joint projections of a layer, of which the key has no bias."""
    weights = tuple(f"{theirs}.{part}_proj.weight" for part in parts)
    biases = tuple(f"{theirs}.{part}_proj.bias" for part in parts if part != "k")
    return {
        f"{ours}.weight": Place(weights, lambda *tensors: torch.cat(tensors)),
        f"{ours}.bias": Place(biases, _unbiased_key),
    }


def layer(ours: str, theirs: str) -> dict[str, Place]:
    """What encoder and decoder layers have."""
    return {
        **attention(f"{ours}.self_attention.query_key_value", f"{theirs}.self_attn", "qkv"),
        **linear(f"{ours}.self_attention.out", f"{theirs}.self_attn.out_proj"),
        **linear(f"{ours}.self_attention_norm", f"{theirs}.self_attn_layer_norm"),
        **linear(f"{ours}.feed_forward.0", f"{theirs}.fc1"),
        **linear(f"{ours}.feed_forward.2", f"{theirs}.fc2"),
        **linear(f"{ours}.feed_forward_norm", f"{theirs}.final_layer_norm"),
    }


def places(folder: Folder, of: Config) -> Mapping[str, Place]:
    made = {
        **linear("stem.0", "model.encoder.conv1"),
        **linear("stem.2", "model.encoder.conv2"),
        "encoder_positions": same("model.encoder.embed_positions.weight"),
        "decoder_positions": same("model.decoder.embed_positions.weight"),
        "embedding.weight": same("model.decoder.embed_tokens.weight"),
        **linear("encoder_norm", "model.encoder.layer_norm"),
        **linear("decoder_norm", "model.decoder.layer_norm"),
    }
    for index in range(of.encoder_layers):
        made |= layer(f"encoder.{index}", f"model.encoder.layers.{index}")
    for index in range(of.decoder_layers):
        ours, theirs = f"decoder.{index}", f"model.decoder.layers.{index}"
        cross = f"{theirs}.encoder_attn"
        made |= layer(ours, theirs)
        made |= attention(f"{ours}.cross_attention.key_value", cross, "kv")
        made |= linear(f"{ours}.cross_attention.query", f"{cross}.q_proj")
        made |= linear(f"{ours}.cross_attention.out", f"{cross}.out_proj")
        made |= linear(f"{ours}.cross_attention_norm", f"{theirs}.encoder_attn_layer_norm")
    return made


def assets(folder: Folder, into: Path) -> None:
    """The tokenizer, and what `generation_config.json` says of languages and suppressed tokens."""
    shutil.copy(folder.file("tokenizer.json"), into)
    said = _generation.rules(folder, known=HONOURED)
    kept = {
        "lang_ids": sorted((said.get("lang_to_id") or {}).values()),
        "suppress_ids": said.get("suppress_tokens") or [],
        "suppress_ids_begin": said.get("begin_suppress_tokens") or [],
        "mels": folder.config["num_mel_bins"],
    }
    (into / "config.json").write_text(json.dumps(kept), encoding="utf-8")
