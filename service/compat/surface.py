"""routes of another server's API → handlers that share the gate, the deadlines and the metrics."""

import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from service.engine import Engine
from service.errors import NotAllowed, Overloaded, Problem
from service.gate import Gate
from service.http_call import SORRY, Call, problem_response
from service.telemetry import Door, observed

log = logging.getLogger("attendant")

Handler = Callable[[Request], Awaitable[Response]]
Refuse = Callable[[Problem, str], Response]
"""A problem and the request's path → the response that the surface's clients understand."""


@dataclass(frozen=True)
class Entrance:
    """What a surface needs of the service."""

    engine: Engine
    gate: Gate
    door: Door

    @contextmanager
    def call(self, task: str, request: Request, limit_s: float | None = None) -> Iterator[Call]:
        """Around one request that a model answers: let in, counted and timed as on our own door."""
        with observed(task, self.door, request.scope["headers"]), self.gate:
            yield Call(request, self.engine.settings, limit_s)


class Endpoint:
    """An ASGI app of one path: a handler for each method, and a refusal for whatever they raise."""

    def __init__(self, entrance: Entrance, handlers: Mapping[str, Handler], refuse: Refuse) -> None:
        self._gate, self._refusals = entrance.gate, entrance.engine.refusals
        self._handlers, self._refuse = handlers, refuse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        handler = self._handlers.get(scope["method"])
        try:
            if handler is None:
                raise NotAllowed(f"{scope['method']} is not for this path")
            response = await handler(Request(scope, receive))
        except Problem as problem:
            if isinstance(problem, Overloaded):
                await self._refusals.turn()
            response = self._refuse(problem, scope["path"])
        except Exception:
            log.exception("%s failed", type(self).__name__)
            response = self._refuse(Problem(SORRY), scope["path"])
        if handler is None:
            response.headers["allow"] = ", ".join(self._handlers)
        if self._gate.closed:
            response.headers["connection"] = "close"
        await response(scope, receive, send)


def route(
    entrance: Entrance,
    path: str,
    handlers: Mapping[str, Handler],
    refuse: Refuse = problem_response,
) -> Route:
    """A path template with a handler for each method."""
    return Route(path, Endpoint(entrance, handlers, refuse))


def _first(path: str) -> str:
    return path[1:].partition("/")[0]


class Surfaces:
    """The paths of all surfaces; everything else goes on to `otherwise`."""

    def __init__(self, routes: list[Route], otherwise: ASGIApp) -> None:
        self._otherwise = otherwise
        by_first: dict[str, list[Route]] = {}
        for route in routes:
            by_first.setdefault(_first(route.path), []).append(route)
        # A request is held against the few templates that begin as its path does.
        self._routers = {
            first: Router(own, redirect_slashes=False, default=otherwise)
            for first, own in by_first.items()
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        http = scope["type"] == "http"
        router = self._routers.get(_first(scope["path"])) if http else None
        await (router or self._otherwise)(scope, receive, send)
