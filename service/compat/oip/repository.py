"""load or unload a model by name → what is served; for those who may administer it."""

from collections.abc import Iterable

from service.access import ADMIN, granted
from service.compat.oip.models import Models
from service.errors import Forbidden, MalformedRequest, Unsupported


def _allowed(models: Models, name: str, parameters: Iterable[str]) -> str:
    for parameter in parameters:
        if parameter.startswith("file:") or parameter == "config":
            raise MalformedRequest(
                "models come from the store only, not from a request",
                f"parameters.{parameter[:64]}",
            )
    if ADMIN not in granted.get():
        raise Forbidden("loading and unloading is for the admin port, or a key of scope admin")
    if models.engine.settings.workers > 1:
        raise Unsupported("of several workers one would be reached; send SIGHUP to load in all")
    return models.tag(name)


async def load(models: Models, name: str, parameters: Iterable[str]) -> None:
    """Take the newest version in the store; raises Unavailable where it cannot be served."""
    await models.engine.models.take(_allowed(models, name, parameters))


async def unload(models: Models, name: str, parameters: Iterable[str]) -> None:
    """Refuse new requests for a model, and forget it when those under way are answered."""
    await models.engine.models.unload(_allowed(models, name, parameters))
