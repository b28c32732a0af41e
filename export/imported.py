"""SOURCE → model folder: read, held against the library it is from, exported, published."""

import re
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from export import agreement
from export.model import export_model
from export.publish import replacing
from export.refusal import Refusal
from export.source import Trained
from models import families
from models.catalogue import architecture
from models.origin import Origin, locate
from service.manifest import Data, Imported, Manifest

NAME = re.compile(r"[a-z0-9]([a-z0-9_.-]{0,61}[a-z0-9])?")
"""What the model store takes."""


def name_of(source: str) -> str:
    """The last part of a path or hub id as the store takes it."""
    return re.sub(r"[^a-z0-9_.-]+", "-", Path(source).resolve().name.lower()).strip("-._")


def import_model(
    source: str,
    *,
    out: Path,
    name: str | None = None,
    revision: str | None = None,
    options: Mapping[str, str] | None = None,
    target: str = "cpu",
) -> Manifest:
    """A model folder `out/name` of a checkpoint; raises `BadCheckpoint` or a `Refusal`.

    `options` are what the checkpoint does not say. Where something is wrong nothing is left.
    """
    name = name or name_of(source)
    if not NAME.fullmatch(name):
        raise Refusal(f"{name!r} is no name for a model: give --name of a-z, 0-9, _, . and -")
    origin = locate(source, revision=revision, options=options)
    with TemporaryDirectory() as assets, replacing(out / name) as folder:
        trained = read(origin, Path(assets))
        return export_model(trained, name=name, target=target, folder=folder)


def read(origin: Origin, assets: Path) -> Trained:
    """The checkpoint as a trained model of ours that agrees with the library's."""
    of = families.family_of(origin.folder)
    model = families.build(of, origin.folder)
    of.assets(origin.folder, assets)
    agreed = agreement.check(of.task, origin.folder.path, model, assets)
    imported = Imported(
        source=origin.source,
        revision=origin.revision,
        licence=origin.licence,
        family=of.name,
        files=origin.folder.hashes(),
        agreement=dict(agreed.differences),
        counts=dict(agreed.counts),
    )
    return Trained(
        architecture(of.architecture),
        model,
        assets=sorted(assets.iterdir()),
        data=Data(source=origin.source, licence=origin.licence),
        recipe={"imported": of.name},
        task=of.task,
        imported=imported,
    )
