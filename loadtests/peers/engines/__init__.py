"""engines, one file each: PEERS, PACKAGES, load; they import their engine where it is used."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path

from loadtests.peers.peer import Job, Loaded, Peer

REQUIRED = ("PEERS", "PACKAGES", "load")


@dataclass(frozen=True)
class Engine:
    """The names that every file of this folder defines."""

    peers: tuple[Peer, ...]
    packages: tuple[str, ...]
    """Distributions whose versions are recorded."""
    load: Callable[[Job], Loaded]


def engine(module: str) -> Engine:
    """Import one engine's file; one that lacks names fails with all of them listed."""
    found = import_module(module)
    missing = [name for name in REQUIRED if not hasattr(found, name)]
    if missing:
        raise AttributeError(f"{module} lacks {', '.join(missing)}")
    return Engine(found.PEERS, found.PACKAGES, found.load)


def peers() -> list[Peer]:
    """All peers of all files."""
    names = sorted(path.stem for path in Path(__file__).parent.glob("[a-z]*.py"))
    modules = [f"{__name__}.{name}" for name in names]
    return [replace(peer, engine=module) for module in modules for peer in engine(module).peers]
