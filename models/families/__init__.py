"""Families, one file each: a library's names, config and files → one architecture of ours.

A family maps; it computes nothing. What its checkpoints have that no architecture of ours can do
must become an option of an architecture, named as in the paper.
"""

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from models.catalogue import architecture
from models.checkpoint import BadCheckpoint
from models.imported import Folder

REQUIRED = ("MODEL_TYPES", "TASK", "ARCHITECTURE", "UNUSED", "config", "places", "assets")

PREPROCESSING = "preprocessor_config.json"


@dataclass(frozen=True)
class Place:
    """Where one of our tensors comes from."""

    names: tuple[str, ...]
    """Tensors of the library; none for what is made from nothing."""
    make: Callable[..., Tensor]
    """Those tensors → ours; must also work without data, on the device `meta`."""


def same(name: str) -> Place:
    """Ours is theirs."""
    return Place((name,), lambda tensor: tensor)


def joined(*names: str) -> Place:
    """Ours are several of theirs, one under the other."""
    return Place(names, lambda *tensors: torch.cat(tensors))


def zeros(*shape: int) -> Place:
    """What they leave out: a bias that is not there adds nothing."""
    return Place((), partial(torch.zeros, *shape))


def linear(ours: str, theirs: str) -> dict[str, Place]:
    """Weight and bias under one name, of a projection or a norm."""
    return {f"{ours}.{kind}": same(f"{theirs}.{kind}") for kind in ("weight", "bias")}


def joined_linear(ours: str, *theirs: str) -> dict[str, Place]:
    """Projections that are one here."""
    return {
        f"{ours}.{kind}": joined(*(f"{each}.{kind}" for each in theirs))
        for kind in ("weight", "bias")
    }


def required(folder: Folder, **values: object) -> None:
    """Raises BadCheckpoint unless the config has these values, where it says anything else."""
    wrong = [
        f"{name} is {folder.config[name]!r}, not {value!r}"
        for name, value in values.items()
        if folder.config.get(name, value) != value
    ]
    if wrong:
        raise BadCheckpoint(f"{folder.config.path}: {'; '.join(wrong)}: no architecture has that")


def labels(folder: Folder) -> list[str]:
    """The names of the classes, in their order."""
    names: Mapping[str, str] = folder.config["id2label"]
    if sorted(map(int, names)) != list(range(len(names))):
        raise BadCheckpoint(f"{folder.config.path}: id2label does not name classes 0, 1, 2, ...")
    return [names[str(number)] for number in range(len(names))]


def preprocessing(folder: Folder, part: str) -> dict[str, Any]:
    """What a checkpoint says of its `image_processor` or `feature_extractor`."""
    whole = folder.path / "processor_config.json"
    if whole.exists() and part in (said := folder.json(whole.name)):
        return dict(said[part])
    return dict(folder.json(PREPROCESSING))


def write_json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False), encoding="utf-8")


def write_assets(folder: Folder, assets: Path, part: str) -> None:
    """`labels.json` and `preprocessor_config.json`: what serves a model that names classes."""
    write_json(assets / "labels.json", labels(folder))
    write_json(assets / PREPROCESSING, preprocessing(folder, part))


@dataclass(frozen=True)
class Family:
    """The names that every file of this folder defines."""

    name: str
    model_types: Collection[str]
    """What `model_type` of config.json may be, or one of its `architectures` where they differ."""
    task: str
    """Route name of the task that it is served by."""
    architecture: str
    unused: Collection[str]
    """Names, or their ends after a dot, of tensors that may be there and are not needed."""
    config: Callable[[Folder], Any]
    """A checkpoint → the config of our architecture; BadCheckpoint for what we do not have."""
    places: Callable[[Folder, Any], Mapping[str, Place]]
    """A checkpoint and our config → where each tensor of our module comes from."""
    assets: Callable[[Folder, Path], None]
    """Writes the files that serving needs, made from the checkpoint's own, into a folder."""


def family_names() -> list[str]:
    return sorted(path.stem for path in Path(__file__).parent.glob("[a-z]*.py"))


def family(name: str) -> Family:
    """Import one family; a file that lacks names fails with all of them listed."""
    module = import_module(f"models.families.{name}")
    missing = [required for required in REQUIRED if not hasattr(module, required)]
    if missing:
        raise AttributeError(f"models/families/{name}.py lacks {', '.join(missing)}")
    return Family(name, *(getattr(module, required) for required in REQUIRED))


def family_of(folder: Folder) -> Family:
    """The family of a checkpoint by its class or its `model_type`; raises `BadCheckpoint`."""
    kind = folder.config["model_type"]
    classes = folder.config.get("architectures") or ()
    families = [family(name) for name in family_names()]
    for each in families:
        if {kind, *classes} & set(each.model_types):
            return each
    known = ", ".join(sorted(kind for each in families for kind in each.model_types))
    is_a = f"model_type {kind!r}" + (f" ({', '.join(classes)})" if classes else "")
    raise BadCheckpoint(f"{folder.path} is of {is_a}, not one of {known}")


def build(of: Family, folder: Folder) -> nn.Module:
    """Our module with the tensors of a checkpoint, in evaluation mode.

    Tensors that are ours as they are stay mapped, and are read when the module first runs. Raises
    BadCheckpoint with every tensor that is missing, left over or of another shape.
    """
    config = of.config(folder)
    given, places = folder.tensors(), of.places(folder, config)
    model = architecture(of.architecture).build(config).eval().requires_grad_(False)
    own = model.state_dict()
    absent = own.keys() ^ places.keys()
    assert not absent, f"models/families/{of.name}.py and its architecture differ: {absent}"
    needed = {name for place in places.values() for name in place.names}
    left = [name for name in given.keys() - needed if not _unused(name, of.unused)]
    faults = [f"{name} is missing" for name in sorted(needed - given.keys())]
    faults += [f"{name} has no place" for name in sorted(left)]
    for name, place in places.items():
        if given.keys() >= set(place.names):
            faults += _misfits(own[name], [given[each] for each in place.names], place)
    if faults:
        raise BadCheckpoint(
            f"{folder.path} is not the {folder.config['model_type']} that its config describes: "
            + "; ".join(faults)
        )
    made: dict[str, Tensor] = {}
    for name, place in places.items():
        tensor = place.make(*(given[each].float() for each in place.names)).to(own[name].dtype)
        # An export knows a tensor by its address, so each has one of its own.
        shared = tensor.data_ptr() in {each.data_ptr() for each in made.values()}
        made[name] = tensor.clone() if shared else tensor.contiguous()
    model.load_state_dict(made, assign=True)
    return model


def _unused(name: str, ends: Collection[str]) -> bool:
    return any(name == end or name.endswith(f".{end}") for end in ends)


def _misfits(own: Tensor, given: list[Tensor], place: Place) -> list[str]:
    """What is wrong with the shapes behind one of our tensors."""
    shapes = " and ".join(
        f"{name} {tuple(tensor.shape)}" for name, tensor in zip(place.names, given, strict=True)
    )
    try:
        with torch.device("meta"):
            made = place.make(*(torch.empty(tensor.shape) for tensor in given))
    except (RuntimeError, IndexError, ValueError) as error:
        return [f"{shapes} do not go together: {error}"]
    if made.shape != own.shape:
        return [f"{shapes} has another shape than {tuple(own.shape)}"]
    return []
