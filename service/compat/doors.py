"""every surface → its paths, before everything that is not one of them."""

from starlette.types import ASGIApp

from service.compat import huggingface
from service.compat.oip import rest as oip
from service.compat.surface import Entrance, Surfaces
from service.engine import Engine
from service.gate import Gate


def surfaces(engine: Engine, gate: Gate, otherwise: ASGIApp) -> Surfaces:
    """The paths of all surfaces over one engine; requests pass the gate of our own door."""
    routes = [
        *oip.routes(Entrance(engine, gate, "oip")),
        *huggingface.routes(Entrance(engine, gate, "huggingface")),
    ]
    return Surfaces(routes, otherwise)
