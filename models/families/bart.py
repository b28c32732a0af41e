"""BART → our Transformer: post-norm, learned positions, a norm behind the embeddings.

Source: Lewis et al. 2020, "BART: Denoising Sequence-to-Sequence Pre-training".
"""

from collections.abc import Mapping
from pathlib import Path

from models.architectures.transformer import Config
from models.families import Place, _bart, _generation
from models.imported import Folder
from service.directions import Source, Target

MODEL_TYPES = ("bart",)
TASK = "translation"
ARCHITECTURE = "transformer"
UNUSED = tuple(name for name in _bart.UNUSED if not name.startswith("embed_positions"))
OFFSET = 2
"""Rows of the tables of positions that stand for none."""


def config(folder: Folder) -> Config:
    return _bart.config(folder, norm_first=False, embedding_norm=True)


def places(folder: Folder, config: Config) -> Mapping[str, Place]:
    tables = {
        f"{ours}.positions": Place(
            (f"model.{side}.embed_positions.weight",), lambda table: table[OFFSET:]
        )
        for side, ours in (("encoder", "source_side"), ("decoder", "target_side"))
    }
    return _bart.places(folder, config) | tables


def assets(folder: Folder, into: Path) -> None:
    """A model for one direction, which only whoever trained it knows."""
    start, end = int(folder.generation["bos_token_id"]), _generation.end(folder)
    source, target = (_bart.option(folder, name, None) for name in ("source_lang", "target_lang"))
    _bart.write(
        folder,
        into,
        sources={source: Source(before=[start], after=[end])},
        targets={target: Target(prompt=_generation.prompt(folder))},
    )
