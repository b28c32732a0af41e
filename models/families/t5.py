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

from models.architectures.transformer import Config
from models.checkpoint import BadCheckpoint
from models.families import Place, _bart, same, zeros
from models.imported import Folder
from service.directions import Directions, Source, Target

MODEL_TYPES = ("t5",)
TASK = "translation"
ARCHITECTURE = "transformer"
UNUSED = ("embed_tokens.weight", "lm_head.weight", "EncDecAttention.relative_attention_bias.weight")
BIAS = "layer.0.SelfAttention.relative_attention_bias.weight"
OUTPUT = "lm_head.weight"
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


def places(folder: Folder, config: Config) -> Mapping[str, Place]:
    width, inner = config.width, config.heads * (config.head_dim or 0)
    scale = math.sqrt(config.head_dim or 1)
    # Newer configs say it; of older ones those are scaled that are tied.
    tied = folder.config.get("tie_word_embeddings", True) is not False
    scaled_output = folder.config.get("scale_decoder_outputs", tied)
    shrink = width**-0.5 if scaled_output else 1.0
    norm = Place(("decoder.final_layer_norm.weight",), lambda weight: weight * shrink)
    found = {
        "embedding.weight": same("shared.weight"),
        "encoder_norm.weight": same("encoder.final_layer_norm.weight"),
        "decoder_norm.weight": norm,
        "source_side.bias.table.weight": same(f"encoder.block.0.{BIAS}"),
        "target_side.bias.table.weight": same(f"decoder.block.0.{BIAS}"),
    }
    if not config.tied_output:
        found["output.weight"] = same(OUTPUT)

    def block(ours: str, theirs: str, *, cross: bool) -> None:
        own, feed = f"{theirs}.layer.0.SelfAttention", f"{theirs}.layer.{2 if cross else 1}"
        places: dict[str, tuple[Place, int]] = {
            "self_attention.query_key_value": (
                Place(
                    tuple(f"{own}.{part}.weight" for part in "qkv"),
                    lambda q, k, v: torch.cat([q * scale, k, v]),
                ),
                3 * inner,
            ),
            "self_attention.out": (same(f"{own}.o.weight"), width),
        }
        norms = {"self_attention_norm": 0, "feed_forward_norm": 2 if cross else 1}
        if cross:
            other = f"{theirs}.layer.1.EncDecAttention"
            query = Place((f"{other}.q.weight",), lambda q: q * scale)
            keys = Place((f"{other}.k.weight", f"{other}.v.weight"), lambda k, v: torch.cat([k, v]))
            places["cross_attention.query"] = (query, inner)
            places["cross_attention.key_value"] = (keys, 2 * inner)
            places["cross_attention.out"] = (same(f"{other}.o.weight"), width)
            norms["cross_attention_norm"] = 1
        dense = (
            {"gate": "wi_0", "value": "wi_1", "out": "wo"}
            if config.gated
            else {"0": "wi", "2": "wo"}
        )
        for part, name in dense.items():
            size = width if name == "wo" else config.hidden
            weight = same(f"{feed}.DenseReluDense.{name}.weight")
            places[f"feed_forward.{part}"] = (weight, size)
        for name, (place, size) in places.items():
            found[f"{ours}.{name}.weight"] = place
            found[f"{ours}.{name}.bias"] = zeros(size)
        for name, number in norms.items():
            found[f"{ours}.{name}.weight"] = same(f"{theirs}.layer.{number}.layer_norm.weight")

    for number in range(config.encoder_layers):
        block(f"encoder.{number}", f"encoder.block.{number}", cross=False)
    for number in range(config.decoder_layers):
        block(f"decoder.{number}", f"decoder.block.{number}", cross=True)
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
    end, pairs = _bart.end(folder), _prefixes(folder)
    targets: dict[str, Target] = {}
    for (source, target), text in pairs.items():
        before = tokenizer.encode(text.strip(), add_special_tokens=False).ids
        if target in targets and targets[target].before != before:
            raise BadCheckpoint(f"into {target} there is more than one prefix: {source} is another")
        targets[target] = Target(before=before, prompt=_bart.prompt(folder))
    directions = Directions(
        sources={source: Source(after=[end]) for source, _ in pairs},
        targets=targets,
        pairs=list(pairs),
        end=end,
        suppressed=_bart.suppressed(folder),
    )
    _bart.write(directions, folder, into, ("tokenizer.json", "tokenizer.json"))
