"""Checkpoints of the Hugging Face hub: every tensor finds its place, and nothing else does."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from models.architectures.whisper import Config, Whisper
from models.whisper_checkpoint import layer_tensors
from models.whisper_weights import from_hugging_face, load

CONFIG = Config(
    vocab=11, width=8, heads=2, hidden=12, encoder_layers=2, decoder_layers=1,
    mels=5, frames=14, max_len=6,
)  # fmt: skip


def hugging_face_state() -> dict[str, Tensor]:
    """Random tensors under the names of WhisperForConditionalGeneration (transformers 4.57)."""
    torch.manual_seed(0)
    state = {
        "model.decoder.embed_tokens.weight": torch.randn(11, 8),
        "model.encoder.embed_positions.weight": torch.randn(7, 8),
        "model.decoder.embed_positions.weight": torch.randn(6, 8),
        "model.encoder.conv1.weight": torch.randn(8, 5, 3),
        "model.encoder.conv1.bias": torch.randn(8),
        "model.encoder.conv2.weight": torch.randn(8, 8, 3),
        "model.encoder.conv2.bias": torch.randn(8),
    }
    for side, layers, attentions in (
        ("encoder", 2, ["self_attn"]),
        ("decoder", 1, ["self_attn", "encoder_attn"]),
    ):
        linears: dict[str, tuple[int, ...]] = {}
        norms = [f"model.{side}.layer_norm"]
        for at in (f"model.{side}.layers.{layer}" for layer in range(layers)):
            norms += [f"{at}.{name}_layer_norm" for name in (*attentions, "final")]
            linears |= {f"{at}.fc1": (12, 8), f"{at}.fc2": (8, 12)}
            linears |= {f"{at}.{name}.{x}_proj": (8, 8) for name in attentions for x in "qv"}
            linears |= {f"{at}.{name}.out_proj": (8, 8) for name in attentions}
            state |= {f"{at}.{name}.k_proj.weight": torch.randn(8, 8) for name in attentions}
        for name in norms:
            linears[name] = (8,)
        for name, shape in linears.items():
            state |= {f"{name}.weight": torch.randn(shape), f"{name}.bias": torch.randn(shape[0])}
    return state


def test_every_parameter_and_buffer_of_the_module_is_given() -> None:
    ours = from_hugging_face(hugging_face_state())
    state = Whisper(CONFIG).state_dict()
    assert {name: tensor.shape for name, tensor in ours.items()} == {
        name: tensor.shape for name, tensor in state.items()
    }


def test_keys_get_a_bias_of_zero() -> None:
    theirs = hugging_face_state()
    at = "model.decoder.layers.0.encoder_attn"
    ours = from_hugging_face(theirs)
    bias = ours["decoder.0.cross_attention.key_value.bias"]
    assert not bias[:8].any()
    assert torch.equal(bias[8:], theirs[f"{at}.v_proj.bias"])
    assert not ours["encoder.1.self_attention.query_key_value.bias"][8:16].any()
    weight = ours["decoder.0.cross_attention.key_value.weight"]
    assert torch.equal(weight[:8], theirs[f"{at}.k_proj.weight"])
    assert torch.equal(weight[8:], theirs[f"{at}.v_proj.weight"])


def test_a_tied_projection_may_be_there() -> None:
    state = hugging_face_state()
    tied = state | {"proj_out.weight": state["model.decoder.embed_tokens.weight"]}
    assert from_hugging_face(tied).keys() == from_hugging_face(state).keys()


def test_a_tensor_without_a_place_is_named() -> None:
    with pytest.raises(ValueError, match=r"layers\.0\.gate\.weight"):
        from_hugging_face({"model.encoder.layers.0.gate.weight": torch.zeros(1)})


def folder_of(path: Path, state: dict[str, Tensor]) -> Path:
    save_file(state, path / "model.safetensors")
    (path / "config.json").write_text(json.dumps({"encoder_attention_heads": 2}))
    return path


def test_a_folder_is_loaded_with_its_sizes(tmp_path: Path) -> None:
    config, model = load(folder_of(tmp_path, hugging_face_state()))
    assert config == CONFIG
    assert not model.training
    assert torch.equal(model.stem[0].bias, hugging_face_state()["model.encoder.conv1.bias"])


def test_half_precision_is_widened(tmp_path: Path) -> None:
    half = {name: tensor.half() for name, tensor in hugging_face_state().items()}
    _, model = load(folder_of(tmp_path, half))
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


def test_a_tensor_that_is_missing_is_noticed(tmp_path: Path) -> None:
    state = hugging_face_state()
    del state["model.encoder.layers.1.fc2.bias"]
    with pytest.raises(ValueError, match=r"encoder\.1\.feed_forward\.2\.bias"):
        load(folder_of(tmp_path, state))


def test_another_digest_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="SHA-256"):
        load(folder_of(tmp_path, hugging_face_state()), sha256="0" * 64)


def test_the_names_lead_there_and_back() -> None:
    state = Whisper(CONFIG).state_dict()
    theirs = layer_tensors(state, key_bias=False)
    ours = from_hugging_face(theirs)
    weights = [name for name in ours if name.endswith("weight")]
    assert len(weights) == 2 * 6 + 10 + 2
    assert all(torch.equal(ours[name], state[name]) for name in weights)
