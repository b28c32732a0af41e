"""a task that hears speech → its live streams, of which there are only so many at a time."""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from typing import Any, Protocol

from pydantic import BaseModel, ValidationError

from service.errors import InvalidInput, Overloaded, refusal
from service.gate import Gate
from service.live.incoming import Bounds, Incoming
from service.live.keywords import Hearing, KeywordSession
from service.live.session import Session
from service.loaded import Loaded
from service.log_mel import RATE_HZ
from service.schema import RequestModel, ResponseModel, Timings
from service.served import Served
from service.settings import Settings
from service.tasks import Item, Row, Task

RETRY_S = 5.0


class Engine(Protocol):
    """What streams need of the engine."""

    @property
    def tasks(self) -> Mapping[str, Task]: ...

    @property
    def settings(self) -> Settings: ...

    async def answer(self, task: str, request: RequestModel) -> ResponseModel: ...

    def find(self, task: str, asked: str = "") -> Served: ...

    async def opened(self, model: Served) -> Loaded: ...

    async def rows(
        self, model: Served, items: Sequence[Item]
    ) -> tuple[list[Row], str, Timings]: ...


class Opened(Protocol):
    """A stream that has begun."""

    def events(self, chunks: AsyncIterator[bytes]) -> AsyncGenerator[BaseModel]: ...


async def transcribed(
    engine: Engine, task: str, fields: Mapping[str, Any], incoming: Incoming
) -> Opened:
    """What is said since the last pause, as a request with these fields, again and again."""
    request = engine.tasks[task].request

    async def ask(audio: bytes) -> str:
        answer: Any = await engine.answer(task, typed(audio))
        return str(answer.text)

    def typed(audio: bytes) -> RequestModel:
        try:
            return request.model_validate({**fields, "audio": audio})
        except ValidationError as error:
            raise refusal(error) from error

    typed(b"any")  # so that a wrong field is told at once
    return Session(ask, incoming)


async def spotted(
    engine: Engine, task: str, fields: Mapping[str, Any], incoming: Incoming
) -> Opened:
    """The keywords that a model with truncated attention hears."""
    model = engine.find(task, fields.get("model", ""))
    hearing = Hearing.of(await engine.opened(model))

    async def ask(items: Sequence[Item]) -> Sequence[Row]:
        rows, _, _ = await engine.rows(model, items)
        return rows

    return KeywordSession(ask, hearing, incoming)


SESSIONS = {"automatic-speech-recognition": transcribed, "audio-classification": spotted}
FIELDS = {
    "automatic-speech-recognition": {"rate_hz", "model", "language", "task"},
    "audio-classification": {"rate_hz", "model"},
}
"""What may be asked of a task's streams: `rate_hz`, or fields of a request."""


class Streams:
    """The streams of one task on one door."""

    def __init__(self, engine: Engine, gate: Gate, task: str) -> None:
        self.task = task
        self._engine, self._gate = engine, gate
        self._open = 0

    async def listen(
        self, asked: Mapping[str, Any], chunks: AsyncIterator[bytes]
    ) -> AsyncGenerator[BaseModel]:
        """What is heard in the chunks. `asked` has fields of `FIELDS`. Raises a Problem."""
        for name in asked:
            if name not in FIELDS[self.task]:
                raise InvalidInput("there is no such field", name[:64])
        fields = {name: value for name, value in asked.items() if name != "rate_hz"}
        settings = self._engine.settings
        bounds = Bounds(settings.live_duration_s, settings.live_idle_s)
        incoming = Incoming(
            bounds, rate_hz=asked.get("rate_hz", RATE_HZ), ending=lambda: self._gate.closed
        )
        if self._open >= settings.live_streams:
            raise Overloaded(f"{self._open} streams are open; at most so many", None, RETRY_S)
        self._open += 1
        try:
            with self._gate:
                session = await SESSIONS[self.task](self._engine, self.task, fields, incoming)
                async with aclosing(session.events(chunks)) as events:
                    async for event in events:
                        yield event
        finally:
            self._open -= 1
