"""`bentoml serve service.app:Attendant` → both doors over one engine, in one worker."""

import asyncio
import gc
import logging
import signal
import threading
from types import FrameType

import bentoml

from service.engine import Engine
from service.http import application
from service.rpc import RpcServer
from service.settings import Settings
from service.tasks import tasks

SETTINGS = Settings()
ENGINE = Engine(tasks(), SETTINGS)


@bentoml.service(
    name="attendant",
    workers=1,
    # The engine ends requests in time; this only frees what it left.
    traffic={"timeout": SETTINGS.timeout_s + 5},
    # Ours instead: these label by raw path and time every request a second time.
    metrics={"enabled": False},
    logging={"access": {"enabled": False}},
)
@bentoml.asgi_app(application(ENGINE), path="/")
class Attendant:
    """The worker: start-up, readiness and an orderly end."""

    @bentoml.on_startup  # type: ignore[untyped-decorator]
    async def start(self) -> None:
        logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO)
        logging.getLogger("attendant").setLevel(logging.INFO)
        await ENGINE.start()
        address = f"{SETTINGS.host}:{SETTINGS.grpc_port}"
        self.rpc = RpcServer(ENGINE, address, SETTINGS.max_body_bytes)
        await self.rpc.start()
        self._drain_on_term()
        # Passes over what was loaded once would stall requests for tens of milliseconds.
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 20, 100)

    def _drain_on_term(self) -> None:
        """Let gRPC health say so before HTTP has drained, which the server does first."""
        if threading.current_thread() is not threading.main_thread():
            return
        loop, previous = asyncio.get_running_loop(), signal.getsignal(signal.SIGTERM)

        def on_term(number: int, frame: FrameType | None) -> None:
            loop.call_soon_threadsafe(self._begin_drain)
            if callable(previous):
                previous(number, frame)

        signal.signal(signal.SIGTERM, on_term)

    def _begin_drain(self) -> None:
        ENGINE.draining = True
        self.rpc.begin_drain()

    @bentoml.on_shutdown  # type: ignore[untyped-decorator]
    async def stop(self) -> None:
        self._begin_drain()
        await self.rpc.stop(SETTINGS.drain_s)
        await ENGINE.close()

    async def __is_ready__(self) -> bool:
        return ENGINE.ready()
