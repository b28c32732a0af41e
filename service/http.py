"""HTTP requests → the engine's answers: one route per task, problem+json for every refusal.

A client may send how long it waits and how urgent it is (`service/headers.py`). One that leaves
takes its work along.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Receive, Scope, Send

from service import exposition, headers, openapi
from service.engine import Engine
from service.errors import ClientLeft, DeadlineExceeded, Problem
from service.events import EventStream, wanted
from service.gate import Gate
from service.http_body import parse
from service.schema import Timings
from service.tasks import Task
from service.telemetry import observed

SORRY = "the service failed on this request"
WATCH_AFTER_S = 0.02
"""A request that is answered sooner is not worth a watch."""
METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


def problem_response(problem: Problem, path: str) -> JSONResponse:
    """RFC 9457 members, and `field` where one is to blame."""
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": problem.title,
        "status": int(problem.status),
        "detail": problem.detail,
        "instance": path,
    }
    if problem.field:
        body["field"] = problem.field
    wait_s = problem.retry_after()
    when = None if wait_s is None else {"retry-after": str(wait_s)}
    return JSONResponse(body, problem.status, when, "application/problem+json")


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


class TaskDoor:
    """POST to a task's route → its answer; everything else goes on to `otherwise`."""

    def __init__(self, engine: Engine, gate: Gate, otherwise: ASGIApp) -> None:
        self._engine, self._gate, self._otherwise = engine, gate, otherwise
        self._tasks = {f"/{name}": task for name, task in engine.tasks.items()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        task = self._tasks.get(scope.get("path", ""))
        if task is None or scope["type"] != "http" or scope["method"] != "POST":
            await self._otherwise(scope, receive, send)
            return
        events = None
        try:
            with observed(task.name, "http", scope["headers"]), self._gate:
                request = Request(scope, receive)
                if wanted(request.headers.get("accept", ""), task):
                    events = EventStream(send)
                response = await self._answer(request, task, events)
        except Problem as problem:
            response = problem_response(problem, scope["path"])
        except Exception:  # telemetry has logged it; the client learns no more than that
            response = problem_response(Problem(SORRY), scope["path"])
        if events and (events.begun or response.status_code == 200):
            await events.end(response)
            return
        if self._gate.closed:
            response.headers["connection"] = "close"
        await response(scope, receive, send)

    async def _answer(self, request: Request, task: Task, events: EventStream | None) -> Response:
        settings, said = self._engine.settings, request.headers
        priority = headers.priority(said.get(headers.PRIORITY))
        asked_s = headers.timeout_s(said.get(headers.TIMEOUT))
        allowed_s = min(asked_s or settings.timeout_s, settings.timeout_s)
        ends_s = asyncio.get_running_loop().time() + allowed_s
        try:
            async with asyncio.timeout_at(ends_s):
                typed = await parse(request, task, settings.max_body_bytes)
        except TimeoutError as error:
            raise DeadlineExceeded(f"not here within {allowed_s:.3g} s", "body") from error
        left_s = ends_s - asyncio.get_running_loop().time()
        with _Watch(request.receive):
            asked: Any = {"timeout_s": left_s, "priority": priority}
            if events:
                answer = await events.answer(self._engine.stream(task.name, typed, **asked))
            else:
                answer = await self._engine.answer(task.name, typed, **asked)
        timing = server_timing(answer.timings_ms)
        return Response(answer.model_dump_json(), headers=timing, media_type="application/json")


def server_timing(timings: Timings) -> dict[str, str]:
    """The header in which browsers and proxies look for stage times, in ms (W3C Server Timing)."""
    stages = [f"{name.removesuffix('_ms')};dur={value_ms}" for name, value_ms in timings]
    return {"server-timing": ", ".join(stages)}


async def _on_problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return problem_response(error, request.url.path)


async def _on_http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    problem = Problem(str(error.detail))
    problem.status, problem.title = error.status_code, str(error.detail).lower()  # type: ignore[misc]
    response = problem_response(problem, request.url.path)
    response.headers.update(error.headers or {})
    return response


async def _on_anything(request: Request, error: Exception) -> Response:
    return problem_response(Problem(SORRY), request.url.path)


def pages(engine: Engine) -> Starlette:
    """Everything but the tasks: status, metrics, the interactive page and what does not exist."""
    document = openapi.document(engine.tasks)

    async def status(request: Request) -> Response:
        return JSONResponse({"ready": engine.ready(), "tasks": engine.status()})

    def metrics(request: Request) -> Response:  # in a thread, for it takes milliseconds
        return Response(exposition.text(), media_type=exposition.MEDIA_TYPE)

    async def openapi_json(request: Request) -> Response:
        return JSONResponse(document)

    async def docs(request: Request) -> Response:
        return HTMLResponse(openapi.PAGE)

    async def unknown(request: Request) -> Response:
        if request.url.path.removeprefix("/") in engine.tasks:
            raise HTTPException(405, headers={"allow": "POST"})
        raise HTTPException(404)

    async def root(request: Request) -> Response:
        return RedirectResponse("/docs")

    handlers: Mapping[Any, Callable[..., Any]] = {
        Problem: _on_problem,
        HTTPException: _on_http_exception,
        Exception: _on_anything,
    }
    routes: list[BaseRoute] = [
        Route("/status", status),
        Route("/metrics", metrics),
        Route("/openapi.json", openapi_json),
        Route("/docs", docs),
        Route("/", root),
        Mount("/static_content", StaticFiles(packages=[openapi.PAGE_FILES])),
        # Without this BentoML would answer, in a form of its own.
        Route("/{path:path}", unknown, methods=METHODS),
    ]
    return Starlette(routes=routes, exception_handlers=dict(handlers))
