"""nothing → two tasks and an engine that answers them without a model, for tests of the doors."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from dataclasses import replace
from functools import cache
from typing import Any

from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.descriptor_pool import DescriptorPool
from pydantic import BaseModel, Field

from service import errors
from service.errors import Problem
from service.listing import ListModelsResponse
from service.pb.compile import descriptor
from service.pb.proto import PACKAGE, SERVICE, proto
from service.refusals import Refusals
from service.schema import Partial, RequestModel, ResponseModel
from service.settings import Settings
from service.tasks import Generation, Task

LIMIT_BYTES = 2_048
PROBLEMS: list[type[Problem]] = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, Problem) and "title" in vars(kind)
][1:]
"""All that have a title of their own, but for the first, which is their base."""


class ShoutRequest(RequestModel):
    """Say it louder."""

    text: str | list[str] = Field(description="One text or several.")
    times: int = Field(default=1, ge=1, le=3, description="Exclamation marks.")
    softly: bool = False


class Shout(BaseModel):
    text: str
    length: int


class ShoutResponse(ResponseModel):
    shouts: list[Shout]


class WeighRequest(RequestModel):
    """Count the bytes of a thing."""

    thing: bytes = Field(min_length=1, max_length=100)
    scale: float = 1.0


class WeighResponse(ResponseModel):
    weight: float
    unit: str | None = None


def shout(request: ShoutRequest) -> ShoutResponse:
    texts = [request.text] if isinstance(request.text, str) else request.text
    loud = [text if request.softly else text.upper() + "!" * request.times for text in texts]
    return ShoutResponse(shouts=[Shout(text=text, length=len(text)) for text in loud])


def weigh(request: WeighRequest) -> WeighResponse:
    return WeighResponse(weight=len(request.thing) * request.scale)


def unused(*_: Any) -> Any:
    raise AssertionError("the doors leave the work to the engine")


def fake_task(
    name: str,
    rpc: str,
    request: type[RequestModel],
    response: type[ResponseModel],
    example: RequestModel,
    expected: str,
) -> Task:
    return Task(
        name, f"{name} → louder", rpc, request, response, {}, 1,
        unused, unused, unused, unused, unused, lambda: example, expected,
    )  # fmt: skip


SHOUT = replace(
    fake_task(
        "shout", "Shout", ShoutRequest, ShoutResponse,
        ShoutRequest(text="grün", times=2), "GRÜN!!",
    ),
    generation=Generation(unused, unused, unused, 1, 1, 1, True, unused, unused),
)  # fmt: skip
WEIGH = fake_task(
    "weigh-thing", "WeighThing", WeighRequest, WeighResponse,
    WeighRequest(thing=b"\x00\xff\r\n", scale=0.5), "2.0",
)  # fmt: skip
TASKS = [SHOUT, WEIGH]
ANSWERS = {"shout": shout, "weigh-thing": weigh}


@cache
def fake_service() -> ServiceDescriptor:
    """The service of the fake tasks, generated as the real one is."""
    pool = DescriptorPool()
    pool.Add(descriptor(proto(TASKS, {})))
    return pool.FindServiceByName(f"{PACKAGE}.{SERVICE}")


class FakeEngine:
    """Answers at once, or after `delay_s`, or with `problem`."""

    def __init__(self) -> None:
        self.tasks: Mapping[str, Task] = {task.name: task for task in TASKS}
        self.refusals = Refusals()
        self.problem: Exception | None = None
        self.full: Exception | None = None
        """Foreseen of every request."""
        self.delay_s = 0.0
        self.is_ready = True
        self.asked: list[tuple[str, RequestModel, float | None]] = []
        self.priorities: list[int] = []
        self.cancelled = 0
        self.answered = 0
        self.partials: list[Partial] = []
        """What a stream gives first, at once."""

    def ready(self) -> bool:
        return self.is_ready

    def foresee(self, task: str, *, timeout_s: float, priority: int = 0) -> None:
        if self.full is not None:
            raise self.full

    def listing(self) -> ListModelsResponse:
        return ListModelsResponse(models=[], memory_bytes=3 << 30, budget_bytes=None)

    async def answer(
        self,
        task: str,
        request: RequestModel,
        *,
        timeout_s: float | None = None,
        priority: int = 0,
    ) -> ResponseModel:
        self.asked.append((task, request, timeout_s))
        self.priorities.append(priority)
        try:
            await asyncio.sleep(self.delay_s)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.problem is not None:
            raise self.problem
        self.answered += 1
        return ANSWERS[task](request)  # type: ignore[operator]

    async def stream(
        self,
        task: str,
        request: RequestModel,
        *,
        timeout_s: float | None = None,
        priority: int = 0,
    ) -> AsyncGenerator[Partial | ResponseModel]:
        for partial in self.partials:
            yield partial
        yield await self.answer(task, request, timeout_s=timeout_s, priority=priority)


class HttpEngine(FakeEngine):
    """What the HTTP door asks of an engine beyond the gRPC door."""

    settings = Settings(max_body_bytes=LIMIT_BYTES)

    def status(self) -> dict[str, str]:
        return {"shout": "ready", "weigh-thing": "weigh-thing:1: weights are missing"}
