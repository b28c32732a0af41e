"""every surface → its paths, before everything that is not one of them, and their description."""

from collections.abc import Mapping
from typing import Any

from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from service.compat import huggingface
from service.compat.libretranslate import paths as libretranslate_paths
from service.compat.libretranslate import routes as libretranslate
from service.compat.libretranslate.said import refuse as libretranslate_refuse
from service.compat.oip import paths as oip_paths
from service.compat.oip import rest as oip
from service.compat.openai import audio as openai
from service.compat.openai import paths as openai_paths
from service.compat.openai.errors import refuse as openai_refuse
from service.compat.surface import Entrance, Surfaces
from service.engine import Engine
from service.errors import NotFound, Problem
from service.gate import Gate
from service.http_call import problem_response
from service.tasks import Task


def surfaces(engine: Engine, gate: Gate, otherwise: ASGIApp) -> Surfaces:
    """The paths of all surfaces over one engine; requests pass the gate of our own door."""
    routes = [
        *oip.routes(Entrance(engine, gate, "oip")),
        *openai.routes(Entrance(engine, gate, "openai")),
        *libretranslate.routes(Entrance(engine, gate, "libretranslate")),
        *huggingface.routes(Entrance(engine, gate, "huggingface")),
    ]
    return Surfaces(routes, _in_one_line(otherwise))


def _in_one_line(otherwise: ASGIApp) -> ASGIApp:
    """Nothing is at a path with a line break.

    No pattern of Starlette's matches it, and BentoML would answer in a form of its own.
    """

    async def answered(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and "\n" in scope["path"]:
            response = refused(NotFound("no path has a line break in it"), scope["path"])
            await response(scope, receive, send)
        else:
            await otherwise(scope, receive, send)

    return answered


def refused(problem: Problem, path: str) -> Response:
    """A problem as the clients of the surface that has this path read it."""
    if path in libretranslate_paths.PATHS:
        return libretranslate_refuse(problem, path)
    if path.startswith(openai.PREFIX):
        return openai_refuse(problem, path)
    return problem_response(problem, path)


def described(tasks: Mapping[str, Task]) -> dict[str, Any]:
    """The paths of all surfaces for the OpenAPI document."""
    described = (oip_paths, openai_paths, libretranslate_paths, huggingface)
    return {path: of for one in described for path, of in one.paths(tasks).items()}
