"""a task that hears speech → its live streams, of which there are only so many at a time."""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from typing import Any, Protocol

from pydantic import ValidationError

from service.errors import InvalidInput, Overloaded, refusal
from service.gate import Gate
from service.live.session import Bounds, LiveEvent, Session
from service.log_mel import RATE_HZ
from service.schema import RequestModel, ResponseModel
from service.settings import Settings
from service.tasks import Task

RETRY_S = 5.0
FIELDS = {"rate_hz", "model", "language", "task"}


class Engine(Protocol):
    """What streams need of the engine."""

    @property
    def tasks(self) -> Mapping[str, Task]: ...

    @property
    def settings(self) -> Settings: ...

    async def answer(self, task: str, request: RequestModel) -> ResponseModel: ...


class Streams:
    """The streams of one task on one door."""

    def __init__(self, engine: Engine, gate: Gate, task: str) -> None:
        self.task = task
        self._engine, self._gate = engine, gate
        self._open = 0

    async def listen(
        self, asked: Mapping[str, Any], chunks: AsyncIterator[bytes]
    ) -> AsyncGenerator[LiveEvent]:
        """What is heard in the chunks. `asked` has `rate_hz`, or fields of a request: `FIELDS`.

        Raises a Problem.
        """
        for name in asked:
            if name not in FIELDS:
                raise InvalidInput("there is no such field", name[:64])
        fields = {name: value for name, value in asked.items() if name != "rate_hz"}
        rate_hz = asked.get("rate_hz", RATE_HZ)
        request = self._engine.tasks[self.task].request

        async def ask(audio: bytes) -> str:
            answer: Any = await self._engine.answer(self.task, typed(audio))
            return str(answer.text)

        def typed(audio: bytes) -> RequestModel:
            try:
                return request.model_validate({**fields, "audio": audio})
            except ValidationError as error:
                raise refusal(error) from error

        typed(b"any")  # so that a wrong field is told at once
        settings = self._engine.settings
        if self._open >= settings.live_streams:
            raise Overloaded(f"{self._open} streams are open; at most so many", None, RETRY_S)
        bounds = Bounds(settings.live_duration_s, settings.live_idle_s)
        session = Session(ask, bounds, rate_hz=rate_hz, ending=lambda: self._gate.closed)
        self._open += 1
        try:
            with self._gate:
                async with aclosing(session.events(chunks)) as events:
                    async for event in events:
                        yield event
        finally:
            self._open -= 1
