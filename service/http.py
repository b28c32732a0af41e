"""HTTP requests → the engine's answers: one route per task, problem+json for every refusal.

A task without binary fields takes JSON. One with a binary field takes it as the raw body (other
fields in the query) or as a part of a multipart form (other fields as parts beside it).
"""

import json
import logging
from collections.abc import Callable, Mapping
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Message

from service import openapi
from service.engine import Engine
from service.errors import (
    InvalidInput,
    MalformedRequest,
    Problem,
    TooLarge,
    UnsupportedMedia,
    refusal,
)
from service.schema import RequestModel
from service.tasks import Task
from service.telemetry import REGISTRY, observed

log = logging.getLogger("attendant")
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
    headers = {"retry-after": "1"} if problem.status in (429, 503) else None
    return JSONResponse(body, problem.status, headers, "application/problem+json")


def binary_field(task: Task) -> str | None:
    """The field of a request that holds bytes, if the task has one."""
    fields = task.request.model_fields.items()
    return next((name for name, field in fields if field.annotation is bytes), None)


async def read_body(request: Request, limit_bytes: int) -> bytes:
    """The whole body, refused as soon as it is known to be over the limit."""
    over = TooLarge(f"the body is over the limit of {limit_bytes} bytes", "body")
    declared = request.headers.get("content-length", "0")
    if not declared.isdigit():
        raise MalformedRequest("Content-Length is not a number", "body")
    if int(declared) > limit_bytes:
        raise over
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > limit_bytes:
                raise over
    except ClientDisconnect as error:
        raise MalformedRequest("the body breaks off", "body") from error
    return bytes(body)


async def _form_values(request: Request, body: bytes) -> dict[str, Any]:
    async def replay() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    values: dict[str, Any] = {}
    try:
        async with Request(request.scope, replay).form(max_files=1, max_fields=32) as form:
            for name, part in form.multi_items():
                values[name] = await part.read() if isinstance(part, UploadFile) else part
    except (MultiPartException, HTTPException) as error:
        raise MalformedRequest(f"not a multipart form: {error}", "body") from error
    return values


def _value(task: Task, name: str, value: Any) -> Any:
    """A form or query value: text stays text where the field is one, else `5` is a number."""
    field = task.request.model_fields.get(name)
    if not isinstance(value, str) or field is None or field.annotation is str:
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value


async def parse(request: Request, task: Task, limit_bytes: int) -> RequestModel:
    """The typed request of a task; raises a Problem that names the field."""
    body = await read_body(request, limit_bytes)
    media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    binary = binary_field(task)
    try:
        if binary is None:
            if media not in ("application/json", ""):
                raise UnsupportedMedia(f"send application/json, not {media}", "body")
            for name in request.query_params:
                raise InvalidInput("send the fields in the body", name)
            return task.request.model_validate_json(body)
        if media == "multipart/form-data":
            values = {**request.query_params, **await _form_values(request, body)}
            if isinstance(values.get(binary), str):
                raise UnsupportedMedia(f"send {binary} as a file part", binary)
        elif media in ("application/json", "application/x-www-form-urlencoded"):
            if media == "application/json" or not body:
                raise UnsupportedMedia(
                    f"send multipart/form-data with a file part {binary}, or the raw bytes", "body"
                )
            values = {**request.query_params, binary: body}  # what curl calls --data-binary
        else:
            values = {**request.query_params, binary: body}
        typed = {name: _value(task, name, value) for name, value in values.items()}
        return task.request.model_validate(typed)
    except ValidationError as error:
        if error.errors()[0]["type"] == "json_invalid":
            raise MalformedRequest("the body is not JSON", "body") from error
        raise refusal(error) from error


def _task_route(engine: Engine, task: Task) -> Route:
    async def answer(request: Request) -> Response:
        with observed(task.name, "http"):
            typed = await parse(request, task, engine.settings.max_body_bytes)
            response = await engine.answer(task.name, typed)
        return Response(response.model_dump_json(), media_type="application/json")

    return Route(f"/{task.name}", answer, methods=["POST"], name=task.name)


async def _on_problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return problem_response(error, request.url.path)


async def _on_http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    problem = Problem(str(error.detail))
    problem.status, problem.title = error.status_code, str(error.detail).lower()  # type: ignore[assignment]
    response = problem_response(problem, request.url.path)
    response.headers.update(error.headers or {})
    return response


async def _on_anything(request: Request, error: Exception) -> Response:
    return problem_response(Problem("the service failed on this request"), request.url.path)


def application(engine: Engine) -> Starlette:
    """The HTTP door: the tasks' routes, status, metrics and the interactive page."""
    document = openapi.document(engine.tasks)

    async def status(request: Request) -> Response:
        return JSONResponse({"ready": engine.ready(), "tasks": engine.status()})

    async def metrics(request: Request) -> Response:
        return Response(generate_latest(REGISTRY), media_type=CONTENT_TYPE_LATEST)

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
    routes: list[BaseRoute] = [_task_route(engine, task) for task in engine.tasks.values()]
    routes += [
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
