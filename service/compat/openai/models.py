"""names of models as OpenAI's clients ask for them → the task that answers: GET /v1/models."""

from time import time
from typing import Any

from service.engine import Engine
from service.served import Served

TASK = "automatic-speech-recognition"
ALIAS = "whisper-1"
"""What clients ask for who know no other."""
OWNER = "attendant"
BEGAN_S = int(time())
"""What a model has for the time of its making: when this process began."""


def names(engine: Engine) -> list[str]:
    """The ids that are served: models of the task, and the alias of the one that is its default."""
    there = engine.models.registry.names(TASK)
    return [*there, ALIAS] if there else []


def described(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": BEGAN_S, "owned_by": OWNER}


def found(engine: Engine, name: str) -> Served:
    """The model that an id means; NotFound for one that nobody has, Unavailable without any."""
    return engine.find(TASK, "" if name in (ALIAS, TASK) else name)
