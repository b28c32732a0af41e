"""`bentoml serve service.app:Attendant` → both doors over one engine, in one worker."""

from functools import partial

import bentoml
from _bentoml_sdk.service import Service  # type: ignore[import-untyped]
from starlette.types import ASGIApp

from service import exposition, heap, logs, tracing
from service.access.admin import AdminServer, administration
from service.access.http import Guard
from service.access.keys import Keys
from service.access.tls import tls_of
from service.compat.doors import described, refused, surfaces
from service.compat.oip.rpc import open_inference
from service.engine import Engine
from service.gate import Gate
from service.http import TaskDoor, pages
from service.lifecycle import Lifecycle
from service.live.websocket import LiveDoor
from service.parting import Parting
from service.rpc import RpcServer
from service.settings import Settings
from service.tasks import tasks

SETTINGS = Settings()
ENGINE = Engine(tasks(), SETTINGS)
HTTP = Gate()
KEYS = Keys(SETTINGS.keys_file) if SETTINGS.keys_file else None
TLS = tls_of(SETTINGS)
PAGES_TIMEOUT_S = 10
"""BentoML keeps a few kilobytes for so long after every request to a page or to a wrong path."""


class DoorBeforeMiddleware(Service[object]):  # type: ignore[misc]
    """Tasks are answered outside BentoML's middlewares, which cost more than the door itself."""

    def to_asgi(self, is_main: bool = True) -> ASGIApp:
        door: ASGIApp = TaskDoor(ENGINE, HTTP, surfaces(ENGINE, HTTP, super().to_asgi(is_main)))
        door = LiveDoor(ENGINE, HTTP, door)
        if KEYS:
            door = Guard(door, KEYS, SETTINGS, refused)
        return Parting(door, lambda: ENGINE.draining)


@bentoml.service(
    name="attendant",
    workers=SETTINGS.workers,
    traffic={"timeout": PAGES_TIMEOUT_S},
    # Ours instead: these label by raw path and time every request a second time.
    metrics={"enabled": False},
    logging={"access": {"enabled": False}},
    service_class=DoorBeforeMiddleware,
)
@bentoml.asgi_app(pages(ENGINE, described(ENGINE.tasks)), path="/")
class Attendant:
    """The worker: start-up, readiness and an orderly end."""

    @bentoml.on_startup  # type: ignore[untyped-decorator]
    async def start(self) -> None:
        logs.configure(SETTINGS.log_format, SETTINGS.log_level)
        if SETTINGS.metrics_dir:
            exposition.share(SETTINGS.metrics_dir)
        if SETTINGS.otlp_endpoint:
            tracing.export_to(SETTINGS.otlp_endpoint)
        await ENGINE.start()
        address = f"{SETTINGS.host}:{SETTINGS.grpc_port}"
        share_port = SETTINGS.workers > 1
        self.rpc = RpcServer(
            ENGINE,
            address,
            SETTINGS.max_body_bytes,
            share_port=share_port,
            also=partial(open_inference, ENGINE),
            keys=KEYS,
            tls=TLS.for_grpc() if TLS else None,
        )
        await self.rpc.start()
        self.admin = None
        if SETTINGS.admin_port:
            self.admin = AdminServer(administration(ENGINE, HTTP, KEYS), SETTINGS)
            await self.admin.start()
        Lifecycle(
            ENGINE,
            HTTP,
            self.rpc,
            lame_duck_s=SETTINGS.lame_duck_s,
            drain_s=SETTINGS.drain_s,
        ).listen()
        heap.settle()

    @bentoml.on_shutdown  # type: ignore[untyped-decorator]
    async def stop(self) -> None:
        """The last steps, after the drain of `service/lifecycle.py` if a signal came."""
        ENGINE.begin_drain()
        await self.rpc.stop(0)
        if self.admin:
            await self.admin.stop()
        await ENGINE.close()

    async def __is_ready__(self) -> bool:
        return ENGINE.ready()
