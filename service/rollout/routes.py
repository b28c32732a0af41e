"""file beside the store ↔ routes: which version a model's name means, and which one is tried."""

import os
from collections.abc import Mapping
from pathlib import Path
from tempfile import NamedTemporaryFile

from bentoml._internal.configuration.containers import BentoMLContainer
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

NAME = "attendant-routes.json"


class Route(BaseModel):
    """What requests that name a model, or none, and no version get."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    stable: str
    """The version that the name means, however new others are."""
    candidate: str = ""
    """The version that is tried, if one is."""
    weight: float = Field(default=0.0, ge=0, le=1)
    """Share of the requests that the candidate answers."""
    shadow: float = Field(default=0.0, ge=0, le=1)
    """Share of the others that it computes too, for nobody."""


ROUTES = TypeAdapter(dict[str, Route])


def path() -> Path:
    return Path(BentoMLContainer.bentoml_home.get()) / NAME


def read() -> dict[str, Route]:
    """Routes by model; raises ValueError where the file is not one."""
    try:
        return ROUTES.validate_json(path().read_bytes())
    except FileNotFoundError:
        return {}


def stamp() -> tuple[int, int]:
    """What changes whenever the file does."""
    try:
        found = path().stat()
    except FileNotFoundError:
        return (0, 0)
    return (found.st_ino, found.st_mtime_ns)


def write(routes: Mapping[str, Route]) -> None:
    """In one step: whoever reads meanwhile reads the old ones or the new ones."""
    with NamedTemporaryFile(dir=path().parent, prefix=NAME, delete=False) as file:
        file.write(ROUTES.dump_json(dict(routes), indent=1))
    Path(file.name).chmod(0o644)
    os.replace(file.name, path())
