"""tasks → one replica: an engine with the same doors as the service, of HTTP and of gRPC."""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import grpc
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from deploy.ray.rpc import METHODS, handled
from service import heap, logs
from service.access.http import Guard
from service.access.keys import Keys
from service.access.rpc import KeyInterceptor
from service.compat.doors import described, refused, surfaces
from service.compat.oip.rpc import open_inference
from service.engine import Engine
from service.errors import NotFound
from service.gate import Gate
from service.http import TaskDoor, pages
from service.live.websocket import LiveDoor
from service.rpc import RpcServer, refuse
from service.settings import Settings
from service.tasks import task, task_names


class Details(NamedTuple):
    """What an interceptor is told of a call."""

    method: str
    invocation_metadata: Sequence[tuple[str, str]]


async def _elsewhere(_: Any, context: Any) -> None:
    await refuse(
        context, NotFound("this application does not serve that; name another", "application")
    )


_UNARY: Any = grpc.unary_unary_rpc_method_handler(_elsewhere)
ELSEWHERE = _UNARY._replace(unary_stream=_elsewhere, stream_stream=_elsewhere)


class Probes:
    """Liveness and readiness of a replica; everything else goes on to `otherwise`."""

    def __init__(self, engine: Engine, otherwise: ASGIApp) -> None:
        self._engine, self._otherwise = engine, otherwise

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path")
        if path not in ("/livez", "/readyz"):
            await self._otherwise(scope, receive, send)
            return
        ready = path == "/livez" or self._engine.ready()
        await PlainTextResponse("", 200 if ready else 503)(scope, receive, send)


class Replica:
    """Answers some tasks; Ray Serve makes as many as are needed."""

    async def __init__(self, tasks: Sequence[str] = ()) -> None:  # type: ignore[misc]
        """All tasks if none are named. Raises RuntimeError where none of them can be served."""
        settings = Settings()
        logs.configure(settings.log_format, settings.log_level)
        self.settings = settings
        self.engine = Engine([task(name) for name in tasks or task_names()], settings)
        await self.engine.start()
        self.check_health()
        self.keys = Keys(settings.keys_file) if settings.keys_file else None
        self.guard = KeyInterceptor(self.keys, refuse) if self.keys else None
        door = RpcServer(
            self.engine, "", settings.max_body_bytes, also=partial(open_inference, self.engine)
        )
        self.methods = {
            f"/{service}/{name}": method
            for service, methods in door.services().items()
            for name, method in methods.items()
        }
        heap.settle()

    async def rpc(self, name: str, given: Any) -> Any:
        """The method with this full name, for a call of which `given` has the metadata."""
        method = self.methods.get(name, ELSEWHERE)
        if self.guard is None:
            return method

        async def found(_: Any) -> Any:
            return method

        details = Details(name, tuple(given.invocation_metadata()))
        return await self.guard.intercept_service(found, details)

    def __serve_build_asgi_app__(self) -> ASGIApp:
        gate = Gate()
        others = surfaces(self.engine, gate, pages(self.engine, described(self.engine.tasks)))
        app: ASGIApp = LiveDoor(self.engine, gate, TaskDoor(self.engine, gate, others))
        if self.keys:
            app = Guard(app, self.keys, self.settings, refused)
        return Probes(self.engine, app)

    def check_health(self) -> None:
        """Asked by Ray Serve, which replaces a replica that raises."""
        if not self.engine.ready():
            raise RuntimeError(f"not ready: {self.engine.status()}")


for _method in METHODS:
    setattr(Replica, _method.name, handled(_method))
