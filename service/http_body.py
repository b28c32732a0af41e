"""HTTP request → the task's typed request: JSON, raw bytes or a multipart form.

A task without binary fields takes JSON. One with a binary field takes it as the raw body (other
fields in the query) or as a part of a multipart form (other fields as parts beside it).
"""

import json
import sys
from collections.abc import AsyncGenerator
from typing import Any

from pydantic import ValidationError
from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from service.compression import plain
from service.errors import InvalidInput, MalformedRequest, TooLarge, UnsupportedMedia, refusal
from service.json_body import check_depth
from service.schema import RequestModel
from service.settings import Settings
from service.tasks import Task


def binary_field(task: Task) -> str | None:
    """The field of a request that holds bytes, if the task has one."""
    fields = task.request.model_fields.items()
    return next((name for name, field in fields if field.annotation is bytes), None)


async def chunks(request: Request, limit_bytes: int | None) -> AsyncGenerator[bytes, None]:
    """The body as it comes, refused as soon as it is known to be over the limit."""
    over = TooLarge(f"the body is over the limit of {limit_bytes} bytes", "body")
    declared = request.headers.get("content-length", "0")
    if not declared.isdigit():
        raise MalformedRequest("Content-Length is not a number", "body")
    if limit_bytes is not None and int(declared) > limit_bytes:
        raise over
    size = 0
    try:
        async for chunk in request.stream():
            size += len(chunk)
            if limit_bytes is not None and size > limit_bytes:
                raise over
            yield chunk
    except ClientDisconnect as error:
        raise MalformedRequest("the body breaks off", "body") from error


async def read_body(request: Request, limit_bytes: int | None) -> bytes:
    """The whole body as it came."""
    body = bytearray()
    async for chunk in chunks(request, limit_bytes):
        body += chunk
    return bytes(body)


async def plain_body(request: Request, settings: Settings) -> bytes:
    """The whole body, its Content-Encoding undone; both within their limits."""
    body = await read_body(request, settings.max_body_bytes)
    encoding = request.headers.get("content-encoding", "").strip().lower()
    return plain(body, encoding, settings.max_unpacked_bytes)


class _InMemory(MultiPartParser):
    """Parts stay in memory, where the whole body is anyway: no full disk can spoil them."""

    spool_max_size = sys.maxsize


class File(bytes):
    """A file of a form, and what its client calls it."""

    name = ""

    @classmethod
    async def of(cls, part: UploadFile) -> "File":
        file = cls(await part.read())
        file.name = part.filename or ""
        return file


async def form_items(
    headers: Headers, body: AsyncGenerator[bytes, None]
) -> list[tuple[str, str | bytes]]:
    """Names and values of a multipart form, in its order: text, or the bytes of the one file."""
    items: list[tuple[str, str | bytes]] = []
    try:
        form = await _InMemory(headers, body, max_files=1, max_fields=32).parse()
        for name, part in form.multi_items():
            items.append((name, await File.of(part) if isinstance(part, UploadFile) else part))
        await form.close()
    except MultiPartException as error:
        raise MalformedRequest(f"not a multipart form: {error.message}", "body") from error
    return items


async def form_values(request: Request, body: bytes) -> dict[str, Any]:
    """The values of a form that is here as a whole."""

    async def whole() -> AsyncGenerator[bytes, None]:
        yield body

    return dict(await form_items(request.headers, whole()))


def typed(task: Task, name: str, value: Any) -> Any:
    """A form or query value: text stays text where the field is one, else `5` is a number."""
    field = task.request.model_fields.get(name)
    if not isinstance(value, str) or field is None or field.annotation is str:
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value


async def parse(request: Request, task: Task, settings: Settings) -> RequestModel:
    """The typed request of a task; raises a Problem that names the field."""
    body = await plain_body(request, settings)
    media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    binary = binary_field(task)
    try:
        if binary is None:
            if media not in ("application/json", ""):
                raise UnsupportedMedia(f"send application/json, not {media}", "body")
            for name in request.query_params:
                raise InvalidInput("send the fields in the body", name)
            check_depth(body, settings.max_json_depth)
            return task.request.model_validate_json(body)
        if media == "multipart/form-data":
            values = {**request.query_params, **await form_values(request, body)}
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
        fields = {name: typed(task, name, value) for name, value in values.items()}
        return task.request.model_validate(fields)
    except ValidationError as error:
        if error.errors()[0]["type"] == "json_invalid":
            raise MalformedRequest("the body is not JSON", "body") from error
        raise refusal(error) from error
