"""our Transformer or Whisper → a checkpoint folder as Hugging Face's libraries read it.

The Transformer is an M2M100 but for where its positions start (`engines/m2m100.py`).
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor

from models.architectures.transformer import Transformer

_LAYER = {
    "self_attention_norm": "self_attn_layer_norm",
    "self_attention.query": "self_attn.q_proj",
    "self_attention.out": "self_attn.out_proj",
    "cross_attention_norm": "encoder_attn_layer_norm",
    "cross_attention.query": "encoder_attn.q_proj",
    "cross_attention.out": "encoder_attn.out_proj",
    "feed_forward_norm": "final_layer_norm",
    "feed_forward.0": "fc1",
    "feed_forward.2": "fc2",
}
_FUSED = {"self_attention.key_value": "self_attn", "cross_attention.key_value": "encoder_attn"}


def layer_tensors(state: Mapping[str, Tensor], *, key_bias: bool) -> dict[str, Tensor]:
    """The tensors of all layers and of the norms behind them, by Hugging Face's names."""
    out = {}
    for name, tensor in state.items():
        stem, _, kind = name.rpartition(".")
        side, _, rest = stem.partition(".")
        number, _, part = rest.partition(".")
        if stem in ("encoder_norm", "decoder_norm"):
            out[f"model.{stem.removesuffix('_norm')}.layer_norm.{kind}"] = tensor
        elif part in _LAYER:
            out[f"model.{side}.layers.{number}.{_LAYER[part]}.{kind}"] = tensor
        elif part in _FUSED:
            attention = f"model.{side}.layers.{number}.{_FUSED[part]}"
            key, value = tensor.chunk(2)
            out[f"{attention}.v_proj.{kind}"] = value
            if kind == "weight" or key_bias:
                out[f"{attention}.k_proj.{kind}"] = key
    return out


def write(folder: Path, tensors: Mapping[str, Tensor], files: Mapping[str, Any]) -> None:
    """Weights, and JSON files by name."""
    folder.mkdir(parents=True, exist_ok=True)
    whole = {name: tensor.detach().clone().contiguous() for name, tensor in tensors.items()}
    save_file(whole, folder / "model.safetensors", {"format": "pt"})
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content, indent=1))


def write_transformer(model: Transformer, folder: Path, *, pad: int, end: int, start: int) -> None:
    config = model.config
    special = {"pad_token_id": pad, "bos_token_id": start, "eos_token_id": end}
    special["decoder_start_token_id"] = start
    state = model.state_dict()
    tensors = layer_tensors(state, key_bias=True)
    tensors["model.shared.weight"] = state["embedding.weight"]
    written = {
        "architectures": ["M2M100ForConditionalGeneration"],
        "model_type": "m2m_100",
        "is_encoder_decoder": True,
        "vocab_size": config.vocab,
        "max_position_embeddings": config.max_len,
        "d_model": config.width,
        "encoder_layers": config.encoder_layers,
        "encoder_attention_heads": config.heads,
        "encoder_ffn_dim": config.hidden,
        "decoder_layers": config.decoder_layers,
        "decoder_attention_heads": config.heads,
        "decoder_ffn_dim": config.hidden,
        "activation_function": "gelu",
        "scale_embedding": True,
        "encoder_layerdrop": 0.0,
        "decoder_layerdrop": 0.0,
        "tie_word_embeddings": True,
        "torch_dtype": "float32",
        **special,
    }
    write(folder, tensors, {"config.json": written, "generation_config.json": special})
