"""names of models as OpenAI's clients ask for them → the task that answers: GET /v1/models."""

from time import time
from typing import Any

from service.engine import Engine
from service.errors import NotFound, Unavailable

TASK = "automatic-speech-recognition"
ALIAS = "whisper-1"
"""What clients ask for who know no other."""
OWNER = "attendant"
BEGAN_S = int(time())
"""What a model has for the time of its making: when this process began."""


def names(engine: Engine) -> list[str]:
    """The ids that are served: the task, its model with the version, and the alias."""
    loaded = engine.loaded.get(TASK)
    return [TASK, loaded.name, ALIAS] if loaded else []


def described(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": BEGAN_S, "owned_by": OWNER}


def known(engine: Engine, name: str) -> None:
    """Raises NotFound for an id that nobody has, Unavailable where speech is not served now."""
    if TASK not in engine.loaded and name in (TASK, ALIAS):
        raise Unavailable(engine.status().get(TASK, "there is no speech recognition"), "model")
    if name not in names(engine):
        there = ", ".join(names(engine)) or "none"
        raise NotFound(f"there is no model {name[:64]!r}; there are {there}", "model")
