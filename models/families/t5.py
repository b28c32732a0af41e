"""T5 → our Transformer: RMS norms without biases, relative positions, tasks named by a prefix.

Sources: Raffel et al. 2020, "Exploring the Limits of Transfer Learning with a Unified Text-to-Text
Transformer"; of T5 1.1 the gated feed-forward of Shazeer 2020. T5 leaves out the division by the
square root of the head's size, and scales a tied output: both go into the weights here.
"""

import math
from collections.abc import Mapping
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import Tensor

from models.architectures.transformer import Config
from models.checkpoint import BadCheckpoint
from models.families import Place, _bart, _generation, same, zeros
from models.imported import Folder
from service.directions import Source, Target

MODEL_TYPES = ("t5",)
TASK = "translation"
ARCHITECTURE = "transformer"
UNUSED = ("embed_tokens.weight", "lm_head.weight", "EncDecAttention.relative_attention_bias.weight")
BIAS = "layer.0.SelfAttention.relative_attention_bias.weight"
OUTPUT = "lm_head.weight"
GATED, PLAIN = {"gate": "wi_0", "value": "wi_1"}, {"0": "wi"}
"""Projections into the feed-forward: ours and theirs."""
PREFIX = "prefix."
"""What the name of an option for a pair begins with: `--option "prefix.en-de=translate ..."`."""


def config(folder: Folder) -> Config:
    said, tensors = folder.config, folder.tensors()
    kind = str(said.get("feed_forward_proj", "relu"))
    gated, act = kind.startswith("gated-"), kind.removeprefix("gated-")
    output, shared = tensors.get(OUTPUT), tensors.get("shared.weight")
    return Config(
        vocab=said["vocab_size"],
        width=said["d_model"],
        heads=said["num_heads"],
        head_dim=said["d_kv"],
        hidden=said["d_ff"],
        encoder_layers=said["num_layers"],
        decoder_layers=said.get("num_decoder_layers") or said["num_layers"],
        dropout=0.0,
        norm="rms",
        norm_epsilon=said["layer_norm_epsilon"],
        activation="gelu_tanh" if kind == "gated-gelu" else _bart.activation(act),
        gated=gated,
        positions="relative",
        position_buckets=said["relative_attention_num_buckets"],
        farthest_position=said.get("relative_attention_max_distance", 128),
        scaled_embedding=False,
        tied_output=output is None or shared is None or torch.equal(output, shared),
    )


def _linear(ours: str, size: int, *theirs: str, scale: float = 1.0) -> dict[str, Place]:
    """Projections without biases, one under the other; the first one scaled."""

    def make(first: Tensor, *others: Tensor) -> Tensor:
        return torch.cat([first * scale, *others])

    weights = tuple(f"{each}.weight" for each in theirs)
    return {f"{ours}.weight": Place(weights, make), f"{ours}.bias": zeros(size)}


def _layer(ours: str, theirs: str, config: Config, *, cross: bool) -> dict[str, Place]:
    width, inner = config.width, config.heads * (config.head_dim or 0)
    scale = math.sqrt(config.head_dim or 1)
    parts = ["self_attention", *(["cross_attention"] if cross else []), "feed_forward"]
    found = {
        f"{ours}.{part}_norm.weight": same(f"{theirs}.layer.{number}.layer_norm.weight")
        for number, part in enumerate(parts)
    }
    own, other = f"{theirs}.layer.0.SelfAttention", f"{theirs}.layer.1.EncDecAttention"
    joint = [f"{own}.{part}" for part in "qkv"]
    found |= _linear(f"{ours}.self_attention.query_key_value", 3 * inner, *joint, scale=scale)
    found |= _linear(f"{ours}.self_attention.out", width, f"{own}.o")
    if cross:
        found |= _linear(f"{ours}.cross_attention.query", inner, f"{other}.q", scale=scale)
        found |= _linear(f"{ours}.cross_attention.key_value", 2 * inner, f"{other}.k", f"{other}.v")
        found |= _linear(f"{ours}.cross_attention.out", width, f"{other}.o")
    dense = f"{theirs}.layer.{len(parts) - 1}.DenseReluDense"
    for part, name in (GATED if config.gated else PLAIN).items():
        found |= _linear(f"{ours}.feed_forward.{part}", config.hidden, f"{dense}.{name}")
    out = "out" if config.gated else "2"
    return found | _linear(f"{ours}.feed_forward.{out}", width, f"{dense}.wo")


def places(folder: Folder, config: Config) -> Mapping[str, Place]:
    # Newer configs say it; of older ones those are scaled that are tied.
    tied = folder.config.get("tie_word_embeddings", True) is not False
    shrink = config.width**-0.5 if folder.config.get("scale_decoder_outputs", tied) else 1.0
    last = Place(("decoder.final_layer_norm.weight",), lambda weight: weight * shrink)
    found = {
        "embedding.weight": same("shared.weight"),
        "encoder_norm.weight": same("encoder.final_layer_norm.weight"),
        "decoder_norm.weight": last,
        "source_side.bias.table.weight": same(f"encoder.block.0.{BIAS}"),
        "target_side.bias.table.weight": same(f"decoder.block.0.{BIAS}"),
    }
    if not config.tied_output:
        found["output.weight"] = same(OUTPUT)
    for side, count in (("encoder", config.encoder_layers), ("decoder", config.decoder_layers)):
        for number in range(count):
            theirs = f"{side}.block.{number}"
            found |= _layer(f"{side}.{number}", theirs, config, cross=side == "decoder")
    return found


def _prefixes(folder: Folder) -> dict[tuple[str, str], str]:
    """Pair → the words before its sources, from the command line or else the config."""
    given = {
        name.removeprefix(PREFIX): text
        for name, text in folder.options.items()
        if name.startswith(PREFIX)
    }
    known = folder.config.get("task_specific_params") or {}
    said = {
        name.removeprefix("translation_").replace("_to_", "-"): entry["prefix"]
        for name, entry in known.items()
        if name.startswith("translation_")
    }
    pairs = given or said
    if not pairs or any(name.count("-") != 1 for name in pairs):
        raise BadCheckpoint(
            f"{folder.path} does not say what it translates: give --option "
            '"prefix.en-de=translate English to German: "'
        )
    return {(name.split("-")[0], name.split("-")[1]): text for name, text in pairs.items()}


def assets(folder: Folder, into: Path) -> None:
    tokenizer = Tokenizer.from_file(str(folder.file("tokenizer.json")))
    end, pairs = _generation.end(folder), _prefixes(folder)
    targets: dict[str, Target] = {}
    for (source, target), text in pairs.items():
        before = tokenizer.encode(text.strip(), add_special_tokens=False).ids
        if target in targets and targets[target].before != before:
            raise BadCheckpoint(f"into {target} there is more than one prefix: {source} is another")
        targets[target] = Target(before=before, prompt=_generation.prompt(folder))
    sources = {source: Source(after=[end]) for source, _ in pairs}
    _bart.write(folder, into, sources=sources, targets=targets, pairs=list(pairs))
