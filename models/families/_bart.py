"""what BART and its descendants have in common: names of their tensors, config and languages."""

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from models.architectures.transformer import Config
from models.checkpoint import BadCheckpoint
from models.families import Place, _generation, joined_linear, linear, same
from models.imported import Folder
from service.directions import Directions, Source, Target
from service.tasks.translation import MAX_LEN

ACTIVATIONS = {
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "relu": "relu",
    "silu": "silu",
    "swish": "silu",
}
EMBEDDINGS = ("model.shared", "model.decoder.embed_tokens", "model.encoder.embed_tokens", "lm_head")
"""Names under which the one embedding may be stored."""
UNUSED = (
    "embed_tokens.weight", "shared.weight", "lm_head.weight", "embed_positions.weight",
    "embed_positions.weights", "final_logits_bias",
)  # fmt: skip
LAYER = {
    "self_attention_norm": "self_attn_layer_norm",
    "self_attention.out": "self_attn.out_proj",
    "cross_attention_norm": "encoder_attn_layer_norm",
    "cross_attention.query": "encoder_attn.q_proj",
    "cross_attention.out": "encoder_attn.out_proj",
    "feed_forward_norm": "final_layer_norm",
    "feed_forward.0": "fc1",
    "feed_forward.2": "fc2",
}


def activation(name: str) -> Any:
    """Their name of an activation → ours; raises `BadCheckpoint`."""
    if name not in ACTIVATIONS:
        raise BadCheckpoint(f"activation {name!r} is not one of {', '.join(ACTIVATIONS)}")
    return ACTIVATIONS[name]


def alike(folder: Folder, *names: str) -> int:
    """A size that encoder and decoder must share; raises `BadCheckpoint`."""
    sizes = {name: int(folder.config[name]) for name in names}
    if len(set(sizes.values())) > 1:
        raise BadCheckpoint(f"{folder.path}: encoder and decoder are not alike: {sizes}")
    return next(iter(sizes.values()))


def long_enough(folder: Folder, length: int) -> int:
    """Positions of a model, which must be those of the longest sentence that is served."""
    if length < MAX_LEN:
        raise BadCheckpoint(f"{folder.path} has {length} positions; serving needs {MAX_LEN}")
    return length


def embedding(folder: Folder) -> str:
    """The name of the tensor that embeds the target, or what it should be called."""
    names = [f"{name}.weight" for name in EMBEDDINGS]
    return next((name for name in names if name in folder.tensors()), names[0])


def config(folder: Folder, **options: Any) -> Config:
    """Sizes and options that all of them state alike; `options` are those that differ."""
    said, bias = folder.config, folder.tensors().get("final_logits_bias")
    return Config(
        **{
            "vocab": said["vocab_size"],
            "width": said["d_model"],
            "heads": alike(folder, "encoder_attention_heads", "decoder_attention_heads"),
            "hidden": alike(folder, "encoder_ffn_dim", "decoder_ffn_dim"),
            "encoder_layers": said["encoder_layers"],
            "decoder_layers": said["decoder_layers"],
            "max_len": long_enough(folder, said["max_position_embeddings"]),
            "dropout": 0.0,
            "activation": activation(said["activation_function"]),
            "scaled_embedding": bool(said.get("scale_embedding", False)),
            "positions": "learned",
            "output_bias": bias is not None and bool(bias.any()),
            **options,
        }
    )


def places(folder: Folder, config: Config) -> dict[str, Place]:
    """Embedding, layers and norms; positions are left to the family."""
    found = {"embedding.weight": same(embedding(folder))}
    if config.output_bias:
        found["output_bias"] = Place(("final_logits_bias",), lambda bias: bias.squeeze(0))
    for side, ours in (("encoder", "source_side"), ("decoder", "target_side")):
        theirs = f"model.{side}"
        if config.norm_first:
            found |= linear(f"{side}_norm", f"{theirs}.layer_norm")
        if config.embedding_norm:
            found |= linear(f"{ours}.norm", f"{theirs}.layernorm_embedding")
        for number in range(getattr(config, f"{side}_layers")):
            mine, yours = f"{side}.{number}", f"{theirs}.layers.{number}"
            for place, name in LAYER.items():
                if side == "decoder" or not place.startswith("cross"):
                    found |= linear(f"{mine}.{place}", f"{yours}.{name}")
            parts = [f"{yours}.self_attn.{part}_proj" for part in "qkv"]
            found |= joined_linear(f"{mine}.self_attention.query_key_value", *parts)
            if side == "decoder":
                parts = [f"{yours}.encoder_attn.{part}_proj" for part in "kv"]
                found |= joined_linear(f"{mine}.cross_attention.key_value", *parts)
    return found


def both_positions(place: Place) -> dict[str, Place]:
    """The same table for source and target."""
    return {"source_side.positions": place, "target_side.positions": place}


def sinusoid(length: int, width: int, *, slowest: int, start: int = 0) -> Place:
    """Sines, then cosines, counted from `start`; the frequencies fall to 1e-4 at `slowest`."""

    def table() -> Tensor:
        exponents = torch.arange(width // 2, dtype=torch.float64) / slowest
        angles = torch.arange(start, start + length)[:, None] * torch.exp(
            -math.log(10_000) * exponents
        )
        return torch.cat([angles.sin(), angles.cos()], dim=1).float()

    return Place((), table)


def option(folder: Folder, name: str, said: Any) -> str:
    """What the command line says, else the checkpoint; raises `BadCheckpoint`."""
    value = folder.options.get(name, said)
    if not value:
        raise BadCheckpoint(f"{folder.path} does not say {name}: give --option {name}=...")
    return str(value)


def language_tokens(folder: Folder, pattern: str) -> dict[str, int]:
    """Language → the token that `tokenizer.json` has for it, of the tokens that it added."""
    added = folder.json("tokenizer.json")["added_tokens"]
    found = {
        token["content"]: token["id"] for token in added if re.fullmatch(pattern, token["content"])
    }
    if not found:
        raise BadCheckpoint(f"{folder.path}/tokenizer.json has no tokens that name a language")
    return found


def write(
    folder: Folder,
    into: Path,
    files: Sequence[tuple[str, str]] = (("tokenizer.json", "tokenizer.json"),),
    *,
    sources: Mapping[str, Source],
    targets: Mapping[str, Target],
    pairs: list[tuple[str, str]] | None = None,
) -> None:
    """The directions, and the checkpoint's own files under the names that serving reads."""
    for theirs, ours in files:
        (into / ours).write_bytes(folder.file(theirs).read_bytes())
    Directions(
        sources=sources,
        targets=targets,
        pairs=pairs,
        end=_generation.end(folder),
        suppressed=_generation.suppressed(folder),
    ).write(into)
