"""The whole service under load: a newer model, then SIGTERM; no request that was let in fails."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import grpc
import httpx
from bentoml._internal.configuration.containers import BentoMLContainer
from grpc_health.v1 import health_pb2, health_pb2_grpc
from versions import another_version

from service import store
from service.pb import attendant_pb2, attendant_pb2_grpc

SCRIPT = """
import sys
from service.settings import Settings
from service.supervisor import Supervisor
sys.exit(Supervisor(Settings()).run(lambda: None))
"""
ROOT = Path(__file__).parents[1]
FIELDS: dict[str, Any] = {"source": "en", "target": "de", "max_new_tokens": 8}


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


class Service:
    """The service in processes of its own, and what its clients saw."""

    def __init__(self, process: asyncio.subprocess.Process, http: int, rpc: int) -> None:
        self.process, self.http, self.rpc = process, http, rpc
        self.client = httpx.AsyncClient(base_url=f"http://127.0.0.1:{http}", timeout=30)
        self.channel = grpc.aio.insecure_channel(f"127.0.0.1:{rpc}")
        self.stub = attendant_pb2_grpc.AttendantStub(self.channel)  # type: ignore[no-untyped-call]
        self.outcomes: Counter[str] = Counter()
        self.models: set[str] = set()
        self.stopping = False

    async def post(self) -> str:
        try:
            reply = await self.client.post("/translation", json={"text": "I read.", **FIELDS})
        except httpx.ConnectError:
            return "gone"
        if reply.status_code == 200:
            self.models.add(reply.json()["model"])
        return str(reply.status_code)

    async def call(self) -> str:
        try:
            request = attendant_pb2.TranslateRequest(text=["I read."], **FIELDS)
            self.models.add((await self.stub.Translate(request)).model)
        except grpc.aio.AioRpcError as error:
            return str(error.code().name)
        return "200"

    async def keep_asking(self, ask: Any) -> None:
        """Until the door is closed, and says so."""
        while (outcome := await ask()) == "200":
            self.outcomes[outcome] += 1
        self.outcomes[outcome] += 1

    async def begun(self) -> None:
        """Wait until it is ready."""
        while True:
            with suppress(httpx.TransportError):
                if (await self.client.get("/readyz")).status_code == 200:
                    return
            assert self.process.returncode is None
            await asyncio.sleep(0.05)

    async def readiness(self) -> tuple[int, bool]:
        stub = health_pb2_grpc.HealthStub(self.channel)
        health = await stub.Check(health_pb2.HealthCheckRequest())
        return (
            (await self.client.get("/readyz")).status_code,
            health.status == health_pb2.HealthCheckResponse.SERVING,
        )


OWN = (sys.executable, "-c", SCRIPT)
BENTOML = (
    *(sys.executable, "-m", "bentoml", "serve", "service.app:Attendant"),
    *("--host", "127.0.0.1", "--port", "PORT"),
)


@asynccontextmanager
async def running(*command: str, **settings: str) -> AsyncIterator[Service]:
    http, rpc = free_port(), free_port()
    environment = {
        **os.environ,
        "HTTP_PORT": str(http),
        "GRPC_PORT": str(rpc),
        "ATTENDANT_LAME_DUCK_S": "1",
        "BENTOML_HOME": BentoMLContainer.bentoml_home.get(),
        "BENTOML_DO_NOT_TRACK": "True",
        **{f"ATTENDANT_{name.upper()}": value for name, value in settings.items()},
    }
    told = [str(http) if part == "PORT" else part for part in command]
    process = await asyncio.create_subprocess_exec(
        *told, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    service = Service(process, http, rpc)
    try:
        await service.begun()
        yield service
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        await service.client.aclose()
        await service.channel.close()


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(60):
            await scenario()

    asyncio.run(bounded())


def test_a_newer_model_and_then_a_stop_cost_no_request(
    tiny_translation: Path, tmp_path: Path
) -> None:
    versions = {store.install(tiny_translation)}

    async def scenario() -> None:
        async with running(*OWN) as service:
            asks = [service.post, service.call] * 4
            clients = [asyncio.create_task(service.keep_asking(ask)) for ask in asks]
            versions.add(store.install(another_version(tiny_translation, tmp_path / "second")))
            service.process.send_signal(signal.SIGHUP)
            while service.models != versions:
                await asyncio.sleep(0.05)
            assert await service.readiness() == (200, True)
            service.process.terminate()
            await asyncio.sleep(0.4)
            assert await service.readiness() == (503, False)
            assert (await service.post(), await service.call()) == ("200", "200")
            await asyncio.gather(*clients)
            assert await service.process.wait() == 0
            assert service.outcomes.pop("200") > 8
            assert service.outcomes == {"503": 4, "UNAVAILABLE": 4}

    run(scenario)


def test_under_bentomls_own_command_a_stop_drains_too(tiny_translation: Path) -> None:
    store.install(tiny_translation)

    async def scenario() -> None:
        async with running(*BENTOML) as service:
            asks = [service.post, service.call] * 2
            clients = [asyncio.create_task(service.keep_asking(ask)) for ask in asks]
            await asyncio.sleep(0.5)
            service.process.terminate()
            await asyncio.sleep(0.4)
            assert await service.readiness() == (503, False)
            assert (await service.post(), await service.call()) == ("200", "200")
            await asyncio.gather(*clients)
            assert await service.process.wait() == 0
            assert service.outcomes.pop("200") > 4
            assert service.outcomes == {"503": 2, "UNAVAILABLE": 2}

    run(scenario)
