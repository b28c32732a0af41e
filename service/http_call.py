"""one HTTP request → its deadline, its urgency and its body; work for it ends when it leaves."""

import asyncio
from collections.abc import Awaitable
from http import HTTPStatus
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import Receive

from service import headers
from service.errors import ClientLeft, DeadlineExceeded, Problem
from service.http_body import plain_body
from service.settings import Settings

T = TypeVar("T")

SORRY = "the service failed on this request"
WATCH_AFTER_S = 0.02
"""A request that is answered sooner is not worth a watch."""


def problem_response(
    problem: Problem, path: str, error: dict[str, Any] | None = None
) -> JSONResponse:
    """RFC 9457 members, `field` where one is to blame, and `error`, in which clients look.

    `error` is what the problem says of itself, but for clients that want an object there.
    """
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": problem.title,
        "status": int(problem.status),
        "detail": problem.detail,
        "instance": path,
        "error": error or str(problem),
    }
    if problem.field:
        body["field"] = problem.field
    wait_s = problem.retry_after()
    told = {} if wait_s is None else {"retry-after": str(wait_s)}
    if problem.status == HTTPStatus.UNAUTHORIZED:
        told["www-authenticate"] = "Bearer"
    return JSONResponse(body, problem.status, told, "application/problem+json")


async def _cancel_on_leave(receive: Receive, caller: asyncio.Task[Any]) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    caller.cancel()


class _Watch:
    """Around the work for one client: cancels it when the client leaves, and then says so."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._task: asyncio.Task[None] | None = None

    def _begin(self, caller: asyncio.Task[Any]) -> None:
        self._task = asyncio.create_task(_cancel_on_leave(self._receive, caller))

    def __enter__(self) -> None:
        caller = asyncio.current_task()
        assert caller is not None
        self._caller = caller
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(WATCH_AFTER_S, self._begin, caller)

    def __exit__(self, kind: object, error: object, _: object) -> None:
        self._timer.cancel()
        if self._task is None:
            return
        if self._task.done() and isinstance(error, asyncio.CancelledError):
            self._caller.uncancel()
            raise ClientLeft("nobody waits for the answer") from error
        self._task.cancel()


class Call:
    """What a request says of its time; raises MalformedRequest where that cannot be read."""

    def __init__(self, request: Request, settings: Settings, limit_s: float | None = None) -> None:
        """`limit_s` stands for the settings' `timeout_s` where a request may take longer."""
        self.request = request
        self._settings = settings
        self.priority = headers.priority(request.headers.get(headers.PRIORITY))
        asked_s = headers.timeout_s(request.headers.get(headers.TIMEOUT))
        limit_s = limit_s or settings.timeout_s
        self._allowed_s = min(asked_s or limit_s, limit_s)
        self._began_s = asyncio.get_running_loop().time()

    def hurry(self, timeout_s: float) -> None:
        """The body, too, says how long its client waits."""
        self._allowed_s = min(self._allowed_s, timeout_s)

    async def read(self, reading: Awaitable[T]) -> T:
        """What is made of the body, which has to come before the deadline."""
        try:
            async with asyncio.timeout_at(self._began_s + self._allowed_s):
                return await reading
        except TimeoutError as error:
            raise DeadlineExceeded(f"not here within {self._allowed_s:.3g} s", "body") from error

    async def body(self) -> bytes:
        return await self.read(plain_body(self.request, self._settings))

    def asked(self) -> dict[str, Any]:
        """What the engine is told beside the request."""
        return {"timeout_s": self.left_s(), "priority": self.priority}

    def left_s(self) -> float:
        """How long the client still waits."""
        return self._began_s + self._allowed_s - asyncio.get_running_loop().time()

    async def work(self, working: Awaitable[T]) -> T:
        """What comes of it, unless the client leaves meanwhile: then it is cancelled."""
        with _Watch(self.request.receive):
            return await working
