"""Doors, one file each: a task's request → the bytes that enter there; what comes back → JSON."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel

from service.tasks import Task


@dataclass(frozen=True)
class Encoded:
    """A request as one door takes it."""

    target: str
    """A path for HTTP, a full method name for gRPC."""
    body: bytes
    headers: dict[str, str]


@dataclass(frozen=True)
class Door:
    """The names that every file of this folder defines."""

    name: str
    summary: str
    transport: Literal["http", "grpc"]
    encode: Callable[[Task, BaseModel], Encoded | None]
    """None where the door has no form for this task."""
    read: Callable[[str, bytes], Any]
    """Target and content → the answer as JSON has it; ValueError where it is none."""
    first: Callable[[bytes], bool] | None = None
    """Where the answer is streamed: whether a piece of it holds text."""


REQUIRED = ("NAME", "TRANSPORT", "encode", "read")
HERE = Path(__file__).parent


def _door(module_name: str) -> Door:
    module = import_module(f"loadtests.lab.doors.{module_name}")
    missing = [each for each in REQUIRED if not hasattr(module, each)]
    if missing:
        raise AttributeError(f"{module.__name__} lacks {', '.join(missing)}")
    return Door(
        module.NAME,
        (module.__doc__ or "").splitlines()[0],
        module.TRANSPORT,
        module.encode,
        module.read,
        getattr(module, "first", None),
    )


def doors() -> dict[str, Door]:
    """Name → door, for every file of this folder; one that lacks names fails, listing them all."""
    found = [_door(path.stem) for path in sorted(HERE.glob("[a-z]*.py"))]
    return {door.name: door for door in found}
