"""checkpoint folder of elsewhere → its config, and its tensors by name, read when they are needed.

An archive of arrays (`*.npz`) without a config says by its name what it is. Other weights are
`model.safetensors`, else `pytorch_model.bin` read with `weights_only`, each in one file or in the
parts that an index lists. Both are mapped into memory, so that reading shapes is free.
"""

import json
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from models.checkpoint import BadCheckpoint
from service.manifest import sha256

CONFIG, GENERATION = "config.json", "generation_config.json"
WEIGHTS = ("model.safetensors", "pytorch_model.bin")
"""In the order in which they are looked for."""


class Described(Mapping[str, Any]):
    """A JSON object of a checkpoint, which says what it lacks."""

    def __init__(self, path: Path, content: Mapping[str, Any]) -> None:
        self.path = path
        self.content = content

    def __getitem__(self, name: str) -> Any:
        # `Mapping.get` wants a KeyError.
        if name not in self.content:
            raise Lacking(f"{self.path} does not say {name}")
        return self.content[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.content)

    def __len__(self) -> int:
        return len(self.content)


class Lacking(KeyError, BadCheckpoint):
    """An entry that a JSON file of a checkpoint should have."""

    def __str__(self) -> str:
        return str(self.args[0])


def read_json(path: Path) -> Described:
    """A JSON object; raises `BadCheckpoint`."""
    if not path.exists():
        raise BadCheckpoint(f"{path} is missing")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise BadCheckpoint(f"{path} is no JSON: {error}") from error
    if not isinstance(content, dict):
        raise BadCheckpoint(f"{path} holds no JSON object")
    return Described(path, content)


@dataclass(frozen=True)
class Folder:
    """A checkpoint as it was found."""

    path: Path
    options: Mapping[str, str] = field(default_factory=dict)
    """What the checkpoint does not say and the command line does."""

    def file(self, name: str) -> Path:
        """A file that a family needs; raises `BadCheckpoint` with all that is there."""
        path = self.path / name
        if not path.is_file():
            there = ", ".join(sorted(each.name for each in self.path.iterdir()))
            raise BadCheckpoint(f"{path} is missing; the folder holds {there or 'nothing'}")
        return path

    @cached_property
    def archive(self) -> Path | None:
        """The only `.npz` of a folder without a config."""
        found = sorted(self.path.glob("*.npz"))
        return found[0] if len(found) == 1 and not (self.path / CONFIG).exists() else None

    @cached_property
    def config(self) -> Described:
        if self.archive:
            return Described(self.archive, {"model_type": self.archive.stem})
        return read_json(self.file(CONFIG))

    @cached_property
    def generation(self) -> Described:
        """How to decode; older checkpoints say it in their config."""
        path = self.path / GENERATION
        said = read_json(path).content if path.exists() else {}
        return Described(path, {**self.config.content, **said})

    def json(self, name: str) -> Described:
        return read_json(self.file(name))

    @cached_property
    def weights(self) -> list[Path]:
        """The files with the tensors, without an index."""
        if self.archive:
            return [self.archive]
        for name in WEIGHTS:
            index = self.path / f"{name}.index.json"
            if index.exists():
                parts = sorted(set(read_json(index)["weight_map"].values()))
                if any(Path(part).name != part for part in parts):
                    raise BadCheckpoint(f"{index} names files outside its folder")
                return [self.file(part) for part in parts]
            if (self.path / name).exists():
                return [self.path / name]
        raise BadCheckpoint(f"{self.path} holds neither {' nor '.join(WEIGHTS)}")

    def tensors(self) -> dict[str, Tensor]:
        """Every tensor by the name that the library has for it, mapped and not yet read."""
        found: dict[str, Tensor] = {}
        for path in self.weights:
            found |= read_tensors(path)
        return found

    def hashes(self) -> dict[str, str]:
        """File → sha256, of all that an import may read."""
        files = [path for path in sorted(self.path.iterdir()) if path.is_file()]
        return {path.name: sha256(path) for path in files if not path.name.startswith(".")}


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of one file; raises `BadCheckpoint`. Nothing of the file is executed."""
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as arrays:
                return {name: torch.from_numpy(np.asarray(arrays[name])) for name in arrays.files}
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (SafetensorError, OSError, struct.error) as error:
        raise BadCheckpoint(f"{path} is damaged or cut off: {error}") from error
    except Exception as error:  # what else a zip archive or a pickle raises differs
        why = str(error).strip().partition("\n")[0]
        raise BadCheckpoint(
            f"{path} is damaged, or a pickle that holds more than tensors, which is not read: {why}"
        ) from error
    if not isinstance(state, dict) or not all(isinstance(each, Tensor) for each in state.values()):
        raise BadCheckpoint(f"{path} holds more than named tensors")
    return state
