"""Whisper weights from elsewhere → our module: a CTranslate2 package, a Hugging Face checkpoint.

Both hold OpenAI's weights (MIT licence). The key projections have no bias there; ours gets zeros.
"""

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from models.architectures.whisper import Config, Whisper
from models.checkpoint import fit
from service import whisper_weights as package

CHECKPOINT = "model.safetensors"
NAMES = {
    "conv1": "stem.0",
    "conv2": "stem.2",
    "embed_tokens": "embedding",
    "self_attn_layer_norm": "self_attention_norm",
    "self_attn.out_proj": "self_attention.out",
    "encoder_attn_layer_norm": "cross_attention_norm",
    "encoder_attn.q_proj": "cross_attention.query",
    "encoder_attn.out_proj": "cross_attention.out",
    "final_layer_norm": "feed_forward_norm",
    "fc1": "feed_forward.0",
    "fc2": "feed_forward.2",
}
JOINED = {
    "self_attn": ("self_attention.query_key_value", "qkv"),
    "encoder_attn": ("cross_attention.key_value", "kv"),
}
"""Projections that are one under the other here, found when that of the keys is met."""


def from_hugging_face(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of a WhisperForConditionalGeneration → tensors by our parameter names.

    Raises ValueError if a tensor has no place in our module.
    """
    ours: dict[str, Tensor] = {}
    for name, tensor in state.items():
        path = name.removeprefix("model.")
        side, _, rest = path.partition(".")
        if path == "proj_out.weight" or ".v_proj." in rest or ".self_attn.q_proj." in rest:
            continue  # tied to the embedding; joined with the key
        head, _, kind = rest.rpartition(".")
        layers, _, part = head.removeprefix("layers.").partition(".")
        if rest == "embed_positions.weight":
            ours[f"{side}_positions"] = tensor
        elif head == "layer_norm":
            ours[f"{side}_norm.{kind}"] = tensor
        elif head in NAMES:
            ours[f"{NAMES[head]}.{kind}"] = tensor
        elif part in NAMES:
            ours[f"{side}.{layers}.{NAMES[part]}.{kind}"] = tensor
        elif part.removesuffix(".k_proj") in JOINED and kind == "weight":
            place, parts = JOINED[part.removesuffix(".k_proj")]
            stems = [name.replace("k_proj.weight", f"{each}_proj") for each in parts]
            zeros = torch.zeros(len(tensor), dtype=tensor.dtype)
            biases = [state.get(f"{stem}.bias", zeros) for stem in stems]
            ours[f"{side}.{layers}.{place}.bias"] = torch.cat(biases)
            weights = [state[f"{stem}.weight"] for stem in stems]
            ours[f"{side}.{layers}.{place}.weight"] = torch.cat(weights)
        else:
            raise ValueError(f"the checkpoint has a tensor without a place here: {name}")
    return ours


def _read(folder: Path, sha256: str | None) -> tuple[dict[str, int], dict[str, Tensor]]:
    if not (folder / CHECKPOINT).exists():
        found = package.read(folder, sha256=sha256)
        arrays = {name: torch.from_numpy(array.copy()) for name, array in found.arrays.items()}
        return dict(found.sizes), arrays
    if sha256 is not None:
        package.check_digest((folder / CHECKPOINT).read_bytes(), sha256)
    arrays = from_hugging_face(load_file(folder / CHECKPOINT))
    heads = json.loads((folder / "config.json").read_text())["encoder_attention_heads"]
    return package.sizes(arrays, heads=heads), arrays


def _alignment_heads(folder: Path) -> tuple[tuple[int, ...], ...]:
    """What the folder says of them, a checkpoint apart from its sizes, a package beside them."""
    said = (folder / name for name in ("generation_config.json", "config.json"))
    known = (json.loads(path.read_text()) for path in said if path.exists())
    found = next((each["alignment_heads"] for each in known if each.get("alignment_heads")), ())
    return tuple(map(tuple, found))


def load(source: Path | str, *, sha256: str | None = None) -> tuple[Config, Whisper]:
    """A model in evaluation mode from a folder of either kind, or by its id on the hub.

    Raises ValueError if the weights do not fit the architecture or have another SHA-256.
    """
    folder = Path(source)
    if not folder.is_dir():
        # Only this way needs the network and the hub's client.
        from huggingface_hub import snapshot_download

        folder = Path(snapshot_download(str(source), allow_patterns=["*.json", CHECKPOINT]))
    sizes, arrays = _read(folder, sha256)
    config = Config(**sizes, alignment_heads=_alignment_heads(folder))
    model = Whisper(config)
    fit(model, {name: array.float() for name, array in arrays.items()}, source=folder)
    return config, model.eval()
