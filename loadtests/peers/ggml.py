"""our Whisper → one file as whisper.cpp reads it.

All numbers are little endian int32 unless said otherwise:

    "ggml" as a number | vocab, encoder positions, width, heads and layers, decoder positions,
    width, heads and layers, mels, kind of the file | mels, bins, the mel filters as float32
    count of tokens, and of each its length and bytes
    per tensor: rank, length of its name, kind | dimensions, innermost first | name | data

Vectors are float32 and matrices float16; or in q8_0: blocks of 32, a float16 scale and 32 int8.
"""

import json
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.architectures.whisper import Whisper
from service.audio import mel_filters
from service.log_mel import MELS, N_FFT, RATE_HZ

MAGIC = 0x67676D6C
F32, F16, Q8_0 = 0, 1, 8
"""Kinds of tensors."""
FILE_KINDS = {"f16": 1, "q8_0": 2_007}
"""The second is the format's version, in thousands, and the number of the mixture."""
BLOCK = 32
_PARTS = {
    "self_attention_norm": "attn_ln",
    "self_attention.out": "attn.out",
    "cross_attention_norm": "cross_attn_ln",
    "cross_attention.query": "cross_attn.query",
    "cross_attention.out": "cross_attn.out",
    "feed_forward_norm": "mlp_ln",
    "feed_forward.0": "mlp.0",
    "feed_forward.2": "mlp.2",
}
_FUSED = {
    "self_attention.query_key_value": ("attn", ("query", "key", "value")),
    "cross_attention.key_value": ("cross_attn", ("key", "value")),
}
_TOPS = {
    "stem.0.weight": "encoder.conv1.weight",
    "stem.0.bias": "encoder.conv1.bias",
    "stem.2.weight": "encoder.conv2.weight",
    "stem.2.bias": "encoder.conv2.bias",
    "encoder_positions": "encoder.positional_embedding",
    "decoder_positions": "decoder.positional_embedding",
    "embedding.weight": "decoder.token_embedding.weight",
    "encoder_norm.weight": "encoder.ln_post.weight",
    "encoder_norm.bias": "encoder.ln_post.bias",
    "decoder_norm.weight": "decoder.ln.weight",
    "decoder_norm.bias": "decoder.ln.bias",
}


def tensors(model: Whisper) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Every tensor by OpenAI's name for it; keys have no bias there."""
    for name, tensor in model.state_dict().items():
        array = tensor.numpy()
        stem, _, kind = name.rpartition(".")
        side, _, rest = stem.partition(".")
        number, _, part = rest.partition(".")
        block = f"{side}.blocks.{number}"
        if name in _TOPS:
            yield _TOPS[name], array
        elif part in _PARTS:
            yield f"{block}.{_PARTS[part]}.{kind}", array
        elif part in _FUSED:
            attention, parts = _FUSED[part]
            for each, own in zip(parts, np.split(array, len(parts)), strict=True):
                if kind == "weight" or each != "key":
                    yield f"{block}.{attention}.{each}.{kind}", own
        else:
            raise KeyError(name)


def q8_0(matrix: NDArray[np.float32]) -> bytes:
    """Each 32 numbers of a row → their scale and what they are multiples of it."""
    blocks = matrix.reshape(-1, BLOCK)
    scale = np.abs(blocks).max(axis=1, keepdims=True) / 127
    values = np.rint(blocks / np.where(scale > 0, scale, 1)).astype(np.int8)
    packed = np.concatenate([scale.astype("<f2").view(np.int8), values], axis=1)
    return packed.tobytes()


def encoded(name: str, array: NDArray[np.float32], mixture: str) -> tuple[int, bytes]:
    """The kind of a tensor, and its data."""
    if array.ndim < 2 or name.endswith(("positional_embedding", "conv1.bias", "conv2.bias")):
        return F32, array.astype("<f4").tobytes()
    if mixture == "q8_0" and array.ndim == 2:
        return Q8_0, q8_0(array)
    return F16, array.astype("<f2").tobytes()


def byte_of() -> dict[str, int]:
    """The letters that byte-level BPE writes bytes as: printable ones as they are."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    letters = {chr(byte): byte for byte in printable}
    return letters | {chr(256 + index): byte for index, byte in enumerate(others)}


def vocabulary(tokenizer: Path) -> list[bytes]:
    """The bytes of each token of text, in the order of their numbers."""
    numbers: dict[str, int] = json.loads(tokenizer.read_text())["model"]["vocab"]
    letters = byte_of()
    texts = sorted(numbers, key=lambda token: numbers[token])
    return [
        bytes(letters[letter] for letter in token) for token in texts if token != "<|endoftext|>"
    ]


def write(model: Whisper, path: Path, *, tokenizer: Path, mixture: str) -> None:
    config = model.config
    sizes = (config.width, config.heads)
    header = (
        *(MAGIC, config.vocab),
        *(config.src_len, *sizes, config.encoder_layers),
        *(config.max_len, *sizes, config.decoder_layers),
        *(config.mels, FILE_KINDS[mixture]),
    )
    filters = mel_filters(rate_hz=RATE_HZ, n_fft=N_FFT, mels=MELS, min_hz=0, max_hz=RATE_HZ / 2)
    with path.open("wb") as file:
        file.write(struct.pack(f"<{len(header)}i", *header))
        file.write(struct.pack("<2i", *filters.T.shape))
        file.write(np.ascontiguousarray(filters.T, "<f4").tobytes())
        tokens = vocabulary(tokenizer)
        file.write(struct.pack("<i", len(tokens)))
        for token in tokens:
            file.write(struct.pack("<i", len(token)) + token)
        for name, array in tensors(model):
            shaped = array[:, None] if name.endswith(("conv1.bias", "conv2.bias")) else array
            kind, data = encoded(name, shaped, mixture)
            file.write(struct.pack("<3i", shaped.ndim, len(name), kind))
            file.write(struct.pack(f"<{shaped.ndim}i", *reversed(shaped.shape)))
            file.write(name.encode() + data)
