"""HTTP requests → the engine's answers: one route per task, problem+json for every refusal.

A client may send how long it waits and how urgent it is (`service/headers.py`). One that leaves
takes its work along.
"""

from collections.abc import Callable, Mapping
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Receive, Scope, Send

from service import exposition, openapi
from service.engine import Engine
from service.errors import Overloaded, Problem
from service.events import EventStream, wanted
from service.gate import Gate
from service.http_body import parse
from service.http_call import SORRY, Call, problem_response
from service.schema import Timings
from service.tasks import Task
from service.telemetry import observed

METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


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
            if isinstance(problem, Overloaded):
                await self._engine.refusals.turn()
            response = problem_response(problem, scope["path"])
        except Exception:  # telemetry has logged it; the client learns no more than that
            response = problem_response(Problem(SORRY), scope["path"])
        if events and (events.begun or response.status_code == 200):
            await events.end(response)
            return
        await response(scope, receive, send)

    async def _answer(self, request: Request, task: Task, events: EventStream | None) -> Response:
        call = Call(request, self._engine.settings)
        self._engine.foresee(task.name, **call.asked())
        typed = await call.read(parse(request, task, self._engine.settings))
        if events:
            stream = self._engine.stream(task.name, typed, **call.asked())
            answer = await call.work(events.answer(stream))
        else:
            answer = await call.work(self._engine.answer(task.name, typed, **call.asked()))
        timing = server_timing(answer.timings_ms)
        return Response(answer.model_dump_json(), headers=timing, media_type="application/json")


def server_timing(timings: Timings) -> dict[str, str]:
    """The header in which browsers and proxies look for stage times, in ms (W3C Server Timing)."""
    stages = [f"{name};dur={took_ms}" for name, took_ms in timings.taken().items()]
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


HANDLERS: Mapping[Any, Callable[..., Any]] = {
    Problem: _on_problem,
    HTTPException: _on_http_exception,
    Exception: _on_anything,
}
"""What a Starlette application answers when a route raises."""


def watching(engine: Engine) -> list[Route]:
    """What is looked at by those who look after the service: status and metrics."""

    async def status(request: Request) -> Response:
        return JSONResponse({"ready": engine.ready(), "tasks": engine.status()})

    def metrics(request: Request) -> Response:  # in a thread, for it takes milliseconds
        return Response(exposition.text(), media_type=exposition.MEDIA_TYPE)

    return [Route("/status", status), Route("/metrics", metrics)]


def pages(engine: Engine, surfaces: Mapping[str, Any] | None = None) -> Starlette:
    """Everything but the tasks: the interactive page, what does not exist, and status and metrics.

    The last two are not here where there is a port for them. `surfaces` are the paths of
    `service/compat`, as the page is to show them.
    """
    document = openapi.document(engine.tasks, surfaces)

    async def models(request: Request) -> Response:
        return Response(engine.listing().model_dump_json(), media_type="application/json")

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

    routes: list[BaseRoute] = [
        *([] if engine.settings.admin_port else watching(engine)),
        Route("/models", models),
        Route("/openapi.json", openapi_json),
        Route("/docs", docs),
        Route("/", root),
        Mount("/static_content", StaticFiles(packages=[openapi.PAGE_FILES])),
        # Without this BentoML would answer, in a form of its own.
        Route("/{path:path}", unknown, methods=METHODS),
    ]
    return Starlette(routes=routes, exception_handlers=dict(HANDLERS))
