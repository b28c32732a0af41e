"""our Whisper → a checkpoint folder as Hugging Face's libraries read it."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor

from models.architectures.whisper import Whisper
from models.whisper_weights import JOINED, NAMES
from service.log_mel import FRAMES, HOP, N_FFT, RATE_HZ, WINDOW_S
from service.tasks.automatic_speech_recognition import Assets

_PLACES = {ours: theirs for theirs, ours in NAMES.items()}
_JOINED = {ours: (theirs, parts) for theirs, (ours, parts) in JOINED.items()}


def layer_tensors(state: Mapping[str, Tensor], *, key_bias: bool) -> dict[str, Tensor]:
    """The tensors of all layers and of the norms behind them, by Hugging Face's names."""
    out = {}
    for name, tensor in state.items():
        stem, _, kind = name.rpartition(".")
        side, _, rest = stem.partition(".")
        number, _, part = rest.partition(".")
        if stem in ("encoder_norm", "decoder_norm"):
            out[f"model.{stem.removesuffix('_norm')}.layer_norm.{kind}"] = tensor
        elif part in _PLACES:
            out[f"model.{side}.layers.{number}.{_PLACES[part]}.{kind}"] = tensor
        elif part in _JOINED:
            attention, letters = _JOINED[part]
            for letter, own in zip(letters, tensor.chunk(len(letters)), strict=True):
                if kind == "weight" or key_bias or letter != "k":
                    out[f"model.{side}.layers.{number}.{attention}.{letter}_proj.{kind}"] = own
    return out


def write(folder: Path, tensors: Mapping[str, Tensor], files: Mapping[str, Any]) -> None:
    """Weights, and JSON files by name."""
    folder.mkdir(parents=True, exist_ok=True)
    whole = {name: tensor.detach().clone().contiguous() for name, tensor in tensors.items()}
    save_file(whole, folder / "model.safetensors", {"format": "pt"})
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content, indent=1))


def write_whisper(model: Whisper, folder: Path, assets: Assets, tokenizer: Path) -> None:
    """The checkpoint, with what its tokenizer and its features are made from."""
    config = model.config
    state = model.state_dict()
    tensors = layer_tensors(state, key_bias=False)
    tensors["model.decoder.embed_tokens.weight"] = state["embedding.weight"]
    for side in ("encoder", "decoder"):
        tensors[f"model.{side}.embed_positions.weight"] = state[f"{side}_positions"]
    for name in ("conv1", "conv2"):
        for kind in ("weight", "bias"):
            tensors[f"model.encoder.{name}.{kind}"] = state[f"{NAMES[name]}.{kind}"]
    special = {"bos_token_id": assets.end, "eos_token_id": assets.end, "pad_token_id": assets.end}
    special["decoder_start_token_id"] = assets.start
    written = {
        "architectures": ["WhisperForConditionalGeneration"],
        "model_type": "whisper",
        "is_encoder_decoder": True,
        "vocab_size": config.vocab,
        "num_mel_bins": config.mels,
        "max_source_positions": config.src_len,
        "max_target_positions": config.max_len,
        "d_model": config.width,
        "encoder_layers": config.encoder_layers,
        "encoder_attention_heads": config.heads,
        "encoder_ffn_dim": config.hidden,
        "decoder_layers": config.decoder_layers,
        "decoder_attention_heads": config.heads,
        "decoder_ffn_dim": config.hidden,
        "activation_function": "gelu",
        "scale_embedding": False,
        "tie_word_embeddings": True,
        "torch_dtype": "float32",
        **special,
    }
    generation: dict[str, Any] = {
        **special,
        "max_length": config.max_len,
        "is_multilingual": bool(assets.languages),
        "no_timestamps_token_id": assets.no_timestamps,
        "prev_sot_token_id": assets.tokenizer.token_to_id("<|startofprev|>"),
        "suppress_tokens": assets.suppressed.tolist(),
        "begin_suppress_tokens": assets.suppressed_first.tolist(),
        "return_timestamps": False,
        "alignment_heads": [
            [layer, head] for layer, heads in config.aligning.items() for head in heads
        ],
    }
    if assets.languages:
        generation["lang_to_id"] = {f"<|{code}|>": id for code, id in assets.languages.items()}
        generation["task_to_id"] = dict(assets.tasks)
    processor = {
        "feature_extractor_type": "WhisperFeatureExtractor",
        "processor_class": "WhisperProcessor",
        "feature_size": config.mels,
        "sampling_rate": RATE_HZ,
        "hop_length": HOP,
        "n_fft": N_FFT,
        "chunk_length": WINDOW_S,
        "n_samples": WINDOW_S * RATE_HZ,
        "nb_max_frames": FRAMES,
        "padding_side": "right",
        "padding_value": 0.0,
        "return_attention_mask": False,
    }
    end = "<|endoftext|>"
    described = {
        "tokenizer_class": "WhisperTokenizer",
        "processor_class": "WhisperProcessor",
        "add_prefix_space": False,
        "bos_token": end,
        "eos_token": end,
        "unk_token": end,
        "pad_token": end,
    }
    byte_pairs = json.loads(tokenizer.read_text())["model"]
    merges = [pair if isinstance(pair, str) else " ".join(pair) for pair in byte_pairs["merges"]]
    files = {
        "config.json": written,
        "generation_config.json": generation,
        "preprocessor_config.json": processor,
        "tokenizer_config.json": described,
        "vocab.json": byte_pairs["vocab"],
    }
    write(folder, tensors, files)
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]) + "\n")
    shutil.copy(tokenizer, folder)
