"""Scenarios, one file each: what was asked for → stretches of load; after MLPerf Inference's."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from loadtests.lab.plan import Load


@dataclass(frozen=True)
class Asked:
    """The options of a run; each scenario reads those that it needs."""

    duration_s: float
    rate_per_s: float
    users: int
    samples: int
    moments_s: tuple[float, ...] = ()
    """Of the requests in a recorded trace; empty without one."""


@dataclass(frozen=True)
class Scenario:
    """The names that every file of this folder defines."""

    name: str
    summary: str
    loads: Callable[[Asked], list[Load]]
    percentile: float
    """The one that a run claims."""
    arguments: tuple[str, ...]
    """The options it reads besides the duration."""


REQUIRED = ("loads", "PERCENTILE", "ARGUMENTS")


def scenario(name: str) -> Scenario:
    """Import one by its name; a file that lacks names fails, listing them all."""
    module = import_module(f"loadtests.lab.scenarios.{name.replace('-', '_')}")
    missing = [each for each in REQUIRED if not hasattr(module, each)]
    if missing:
        raise AttributeError(f"{module.__name__} lacks {', '.join(missing)}")
    summary = (module.__doc__ or "").splitlines()[0]
    return Scenario(name, summary, *(getattr(module, each) for each in REQUIRED))


def names() -> list[str]:
    files = sorted(Path(__file__).parent.glob("[a-z]*.py"))
    return [file.stem.replace("_", "-") for file in files]
