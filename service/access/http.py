"""HTTP requests and WebSockets → those whose key allows them; the others get a problem.

A key comes as `Authorization: Bearer KEY`, as `X-API-Key: KEY` or as `api_key` in the query; to the
paths of LibreTranslate also in the body, where its clients put it.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl, urlencode

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Send
from starlette.types import Scope as Connection

from service.access import ADMIN, Scope, granted
from service.access.keys import FIELD, Keys
from service.compression import plain
from service.errors import DeadlineExceeded, Problem
from service.http_body import form_values, read_body
from service.json_body import from_json
from service.settings import Settings

Refuse = Callable[[Problem, str], Response]

OPEN = {"/", "/docs", "/openapi.json", "/livez", "/readyz", "/healthz", "/health", "/v2",
        "/v2/health/live", "/v2/health/ready", "/frontend/settings"}  # fmt: skip
OPEN_FOLDERS = ("/static_content/", "/download_file/")
"""Files of the page, and files by names that only their owners know."""
ADMIN_PATHS = {"/metrics", "/status"}
ADMIN_FOLDERS = ("/admin/", "/v2/repository/")
KEY_IN_BODY = {"/translate", "/translate_file", "/detect", "/languages", "/suggest"}
"""Of LibreTranslate, whose clients send it nowhere else."""


def needed(path: str) -> Scope | None:
    """The scope that a path asks for; None where everybody may."""
    if path in OPEN or path.startswith(OPEN_FOLDERS):
        return None
    return ADMIN if path in ADMIN_PATHS or path.startswith(ADMIN_FOLDERS) else "infer"


class Guard:
    """Around all routes of a door that asks for keys."""

    def __init__(
        self,
        app: ASGIApp,
        keys: Keys,
        settings: Settings,
        refuse: Refuse,
        *,
        needed: Callable[[str], Scope | None] = needed,
    ) -> None:
        """`refuse` makes a problem and a path the response that the path's clients understand."""
        self._app, self._keys, self._settings, self._refuse = app, keys, settings, refuse
        self._needed = needed

    async def __call__(self, scope: Connection, receive: Receive, send: Send) -> None:
        wanted = self._needed(scope.get("path", "")) if scope["type"] != "lifespan" else None
        if wanted is None or scope.get("method") == "OPTIONS":
            await self._app(scope, receive, send)
            return
        try:
            presented, scope = _presented(scope)
            if presented is None and scope["path"] in KEY_IN_BODY and scope["type"] == "http":
                presented, receive = await self._from_body(scope, receive)
            counted = scope.get("method", "POST") == "POST"
            key = self._keys.admit(presented, wanted, counted=counted)
        except Problem as problem:
            response = self._refuse(problem, scope["path"])
            await _refused(response, scope, receive, send)
            return
        token = granted.set(key.scopes)
        try:
            await self._app(scope, receive, send)
        finally:
            granted.reset(token)

    async def _from_body(self, scope: Connection, receive: Receive) -> tuple[str | None, Receive]:
        """The key in a body, and what receives that body once more."""
        request, settings = Request(scope, receive), self._settings
        try:
            async with asyncio.timeout(settings.timeout_s):
                body = await read_body(request, settings.max_body_bytes)
        except TimeoutError as error:
            raise DeadlineExceeded(f"not here within {settings.timeout_s:g} s", "body") from error
        told = False

        async def again() -> Message:
            nonlocal told
            if told:
                return await receive()
            told = True
            return {"type": "http.request", "body": body, "more_body": False}

        encoding = request.headers.get("content-encoding", "").strip().lower()
        content = plain(body, encoding, settings.max_unpacked_bytes)
        found = (await _fields(request, content, settings)).get(FIELD)
        return (found if isinstance(found, str) else None), again


async def _fields(request: Request, body: bytes, settings: Settings) -> Mapping[str, Any]:
    media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media == "multipart/form-data":
        return await form_values(request, body)
    try:
        if media == "application/x-www-form-urlencoded" or body[:1] != b"{":
            return dict(parse_qsl(body.decode(), max_num_fields=32))
        said = from_json(body, settings.max_json_depth)
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}


def _presented(scope: Connection) -> tuple[str | None, Connection]:
    """The key in the headers or the query, and the connection without it."""
    headers = Headers(scope=scope)
    kind, _, key = headers.get("authorization", "").partition(" ")
    found = key.strip() if kind.lower() == "bearer" else headers.get("x-api-key")
    query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
    in_query = [value for name, value in query if name == FIELD]
    if in_query:
        left = urlencode([(name, value) for name, value in query if name != FIELD])
        scope = {**scope, "query_string": left.encode()}
    return found or next(iter(in_query), None), scope


async def _refused(response: Response, scope: Connection, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket" and "websocket.http.response" not in scope["extensions"]:
        await send({"type": "websocket.close", "code": 1008})
        return
    await response(scope, receive, send)
