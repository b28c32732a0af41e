"""a port of their own → for those who look after the service: metrics, status, models, reload."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Send
from starlette.types import Scope as Connection

from service.access import ADMIN, Scope, granted
from service.access.http import OPEN, Guard
from service.access.keys import Keys
from service.access.tls import tls_of
from service.compat.oip import rest as oip
from service.compat.surface import Entrance
from service.engine import Engine
from service.errors import Unsupported
from service.gate import Gate
from service.http import HANDLERS, watching
from service.http_call import problem_response
from service.settings import Settings

OIP_PATHS = ("/v2/health/", "/v2/models/stats", "/v2/repository/")


def _needed(path: str) -> Scope | None:
    return None if path in OPEN else ADMIN


class _Granted:
    """Whoever reaches this port may administer, where nobody has keys."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Connection, receive: Receive, send: Send) -> None:
        token = granted.set(frozenset({ADMIN}))
        try:
            await self._app(scope, receive, send)
        finally:
            granted.reset(token)


def administration(engine: Engine, gate: Gate, keys: Keys | None) -> ASGIApp:
    """The paths of the admin port; with `keys`, for those of scope admin."""

    async def reload(_: Request) -> Response:
        if engine.settings.workers > 1:
            raise Unsupported("of several workers one would be reached; send SIGHUP instead")
        await engine.models.reload()
        return JSONResponse({"tasks": engine.status()})

    repository = oip.routes(Entrance(engine, gate, "oip"))
    routes: list[BaseRoute] = [
        *watching(engine),
        Route("/admin/reload", reload, methods=["POST"]),
        *(route for route in repository if route.path.startswith(OIP_PATHS)),
    ]
    app = Starlette(routes=routes, exception_handlers=dict(HANDLERS))
    if keys is None:
        return _Granted(app)
    return Guard(app, keys, engine.settings, problem_response, needed=_needed)


class AdminServer(uvicorn.Server):
    """The port, served beside the doors in their event loop; signals are left to the worker."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        tls = tls_of(settings)
        super().__init__(
            uvicorn.Config(
                app,
                **(tls.for_uvicorn() if tls else {}),
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=1,
            )
        )
        self._settings = settings
        self._serving: asyncio.Task[None] | None = None

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def start(self) -> None:
        """Raises OSError where the port is taken."""
        at = (self._settings.admin_host, self._settings.admin_port or 0)
        listening = socket.create_server(at, reuse_port=self._settings.workers > 1)
        self._serving = asyncio.create_task(self.serve(sockets=[listening]))

    async def stop(self) -> None:
        self.should_exit = True
        if self._serving:
            await self._serving
