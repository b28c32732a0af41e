"""The recorder: every form in which a request comes is in the trace, and is passed on unchanged."""

import asyncio
import io
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp import ClientSession, FormData, web
from aiohttp.test_utils import TestClient, TestServer

from loadtests.lab.payloads import TraceLine, request_of
from loadtests.lab.trace import Recorder
from service.tasks import task

PICTURE = task("image-classification")
CONTENT: bytes = PICTURE.example().model_dump()["image"]
Client = TestClient[web.Request, web.Application]


def recorded(send: Callable[[Client], Awaitable[Any]]) -> tuple[list[TraceLine], bytes]:
    """The lines of what a client sends through a recorder, and what the server behind it got."""
    got = bytearray()

    async def behind(request: web.Request) -> web.Response:
        got.extend(await request.read())
        return web.Response(text="answered")

    async def run() -> str:
        app, out = web.Application(client_max_size=2**24), io.StringIO()
        app.router.add_post("/{path:.*}", behind)
        async with TestServer(app) as server, ClientSession() as session:
            door = web.Application(client_max_size=2**24)
            recorder = Recorder(str(server.make_url("")).rstrip("/"), session, out)
            door.router.add_route("*", "/{path:.*}", recorder.handle)
            async with TestClient(TestServer(door)) as client:
                answer = await send(client)
                assert (answer.status, await answer.text()) == (200, "answered")
        return out.getvalue()

    text = asyncio.run(run())
    return [TraceLine.model_validate_json(line) for line in text.splitlines()], bytes(got)


def form() -> FormData:
    made = FormData({"top_k": "2"})
    made.add_field("image", CONTENT, filename="cat.jpg", content_type="image/jpeg")
    return made


@pytest.mark.parametrize(
    ("body", "fields"),
    [(CONTENT, {"image": CONTENT}), (form, {"image": CONTENT, "top_k": 2})],
    ids=["body", "form"],
)
def test_a_picture_is_recorded_as_body_and_in_a_form(body: Any, fields: dict[str, Any]) -> None:
    lines, got = recorded(
        lambda client: client.post(f"/{PICTURE.name}", data=body() if callable(body) else body)
    )
    assert CONTENT in got
    (line,) = lines
    assert request_of(PICTURE, line.request).model_dump(exclude_unset=True) == fields


def test_json_is_recorded() -> None:
    asked = {"text": "Good night.", "source": "en", "target": "de"}
    (line,), _ = recorded(lambda client: client.post("/translation", json=asked))
    assert (line.task, line.request) == ("translation", asked)


@pytest.mark.parametrize(
    ("path", "data", "kind"),
    [
        ("translation", b"{", "application/json"),
        ("translation", b"no form", "multipart/form-data; boundary=x"),
        ("elsewhere", b"{}", "application/json"),
    ],
)
def test_what_cannot_be_read_is_passed_on_and_left_out(path: str, data: bytes, kind: str) -> None:
    lines, got = recorded(
        lambda client: client.post(f"/{path}", data=data, headers={"Content-Type": kind})
    )
    assert (lines, got) == ([], data)
