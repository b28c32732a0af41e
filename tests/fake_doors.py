"""the fake tasks and a model of pictures → every surface over a real engine, and a client of it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import grpc
import httpx
import numpy as np
from fake_tasks import SHOUT, WEIGH, shout, weigh
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.descriptor_pool import DescriptorPool
from starlette.types import ASGIApp

from service.access.http import Guard
from service.access.keys import Keys
from service.compat.doors import refused, surfaces
from service.compat.oip.rpc import open_inference
from service.contract import Tensor
from service.engine import Engine
from service.gate import Gate
from service.http import TaskDoor, pages
from service.pb.compile import descriptor
from service.pb.proto import PACKAGE, SERVICE, proto
from service.rpc import RpcServer
from service.settings import Settings
from service.tasks import Task, task
from service.tasks.image_classification import Assets

CLASSES = ["dark", "light", "red"]


class Lamp:
    """A runner that tells how light a picture is."""

    name = "image-classification:1"

    def __init__(self) -> None:
        self.batches: list[int] = []

    def tensors(self, graph: str) -> dict[str, Tensor]:
        return {
            "pixels": Tensor("float32", ("batch", 3, 32, 32)),
            "logits": Tensor("float32", ("batch", len(CLASSES))),
        }

    def run(self, graph: str, inputs: Any) -> dict[str, Any]:
        pixels = inputs["pixels"]
        self.batches.append(len(pixels))
        light, red = pixels.mean((1, 2, 3)), pixels[:, 0].mean((1, 2))
        return {"logits": np.stack([-light, light, red], 1).astype(np.float32)}

    def bind(self, graph: str, inputs: Any, outputs: Any) -> Callable[[], None]:
        raise AssertionError("it has no steps")


def _modelless(task: Task, answer: Callable[[Any], Any]) -> Task:
    """A fake task that the engine can run: its items are nothing."""
    return replace(
        task,
        load_assets=lambda folder: None,
        preprocess=lambda request, _: [{"index": np.array(0)}],
        forward=lambda model, assets, items: [{} for _ in items],
        postprocess=lambda request, assets, items, rows: answer(request),
        cost=lambda item: 1,
        generation=None,
    )


class Doors:
    """The engine, a client of each door, and how many rows its batches had."""

    def __init__(
        self, engine: Engine, http: httpx.AsyncClient, channel: grpc.aio.Channel, lamp: Lamp
    ) -> None:
        self.engine, self.http, self.channel, self.lamp = engine, http, channel, lamp
        self.gate = Gate()


def served(settings: Settings) -> tuple[Engine, Lamp]:
    """An engine that answers the fake tasks and classifies pictures."""
    tasks = [_modelless(SHOUT, shout), _modelless(WEIGH, weigh), task("image-classification")]
    engine, lamp = Engine(tasks, settings), Lamp()
    for name in ("shout", "weigh-thing"):
        engine.serve(engine.tasks[name], f"{name}:7", lamp, None)
    engine.serve(engine.tasks["image-classification"], lamp.name, lamp, Assets(CLASSES))
    return engine, lamp


def _native(engine: Engine) -> ServiceDescriptor:
    """The service of these tasks, generated as the real one is."""
    pool = DescriptorPool()
    pool.Add(descriptor(proto(engine.tasks.values(), {})))
    return pool.FindServiceByName(f"{PACKAGE}.{SERVICE}")


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Doors]:
    engine, lamp = served(settings)
    gate = Gate()
    app: ASGIApp = TaskDoor(engine, gate, surfaces(engine, gate, pages(engine)))
    keys = Keys(settings.keys_file) if settings.keys_file else None
    if keys:
        app = Guard(app, keys, settings, refused)
    server = RpcServer(
        engine,
        "127.0.0.1:0",
        settings.max_body_bytes,
        service=_native(engine),
        also=partial(open_inference, engine),
        keys=keys,
    )
    await server.start()
    async with (
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://worker") as http,
        grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel,
    ):
        doors = Doors(engine, http, channel, lamp)
        doors.gate = gate
        try:
            yield doors
        finally:
            await server.stop(grace_s=1)
            await engine.close()
            if keys:
                keys.close()


def with_doors(
    scenario: Callable[[Doors], Awaitable[None]], settings: Settings | None = None
) -> None:
    async def run() -> None:
        async with asyncio.timeout(30), opened(settings or Settings(threads=1)) as doors:
            await scenario(doors)

    asyncio.run(run())
