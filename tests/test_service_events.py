"""Who accepts events gets texts as they come, then the answer or what went wrong, on one socket."""

import asyncio
import json
from typing import Any

import pytest
from test_service_http_calls import BODY, HEAD, Door, until, with_door

from service import events
from service.errors import ClientLeft, Overloaded
from service.events import EventStream
from service.schema import Partial

SSE = {"accept": "text/event-stream"}
PARTIALS = [Partial(text="a\nb"), Partial(text="ü", index=1), Partial(text="c", replaces=True)]


def parsed(text: str) -> list[tuple[str, Any]]:
    """Name and JSON of each event; comments are left out."""
    found = []
    for block in text.split("\n\n")[:-1]:
        if not block.startswith(":"):
            name, data = block.split("\n")
            found.append((name.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    return found


def test_partial_texts_come_first_and_the_ordinary_answer_last() -> None:
    async def scenario(door: Door) -> None:
        door.engine.partials = PARTIALS
        reply = await door.post(**SSE)
        assert reply.status_code == 200
        assert reply.headers["content-type"].startswith("text/event-stream")
        *partials, (name, answer) = parsed(reply.text)
        assert partials == [("partial", partial.model_dump()) for partial in PARTIALS]
        assert (name, answer) == ("answer", (await door.post()).json())
        door.engine.partials = []
        assert parsed((await door.post(**SSE)).text) == [("answer", answer)]

    with_door(scenario)


def test_a_problem_is_an_ordinary_one_before_the_first_event_and_an_event_after_it() -> None:
    async def scenario(door: Door) -> None:
        door.engine.problem = Overloaded("full")
        ordinary = await door.post(**SSE)
        assert ordinary.status_code == 429
        assert ordinary.headers["content-type"] == "application/problem+json"
        door.engine.partials = PARTIALS
        late = await door.post(**SSE)
        assert late.status_code == 200
        assert parsed(late.text)[-1] == ("problem", ordinary.json())
        door.engine.problem = ZeroDivisionError("secret")
        name, sorry = parsed((await door.post(**SSE)).text)[-1]
        assert (name, sorry["status"]) == ("problem", 500)
        assert "secret" not in sorry["detail"]
        assert door.gate.inside == 0

    with_door(scenario)


@pytest.mark.parametrize(
    ("accept", "media"),
    [
        ("*/*", "application/json"),
        ("application/json", "application/json"),
        ("application/json, text/event-stream;q=0.9", "text/event-stream; charset=utf-8"),
    ],
)
def test_events_come_only_where_they_are_named(accept: str, media: str) -> None:
    async def scenario(door: Door) -> None:
        assert (await door.post(accept=accept)).headers["content-type"] == media

    with_door(scenario)


def test_a_task_without_tokens_has_no_events() -> None:
    async def scenario(door: Door) -> None:
        async def weigh(accept: str) -> Any:
            headers = {"accept": accept}
            return await door.client.post("/weigh-thing", content=b"123", headers=headers)

        refused = await weigh("text/event-stream")
        assert (refused.status_code, refused.json()["field"]) == (406, "accept")
        for also in ("application/json", "*/*"):
            assert (await weigh(f"text/event-stream, {also}")).json()["weight"] == 3

    with_door(scenario)


def test_silence_is_broken_by_comments(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(door: Door) -> None:
        monkeypatch.setattr(events, "HEARTBEAT_S", 0.02)
        door.engine.partials, door.engine.delay_s = PARTIALS[:1], 0.2
        text = (await door.post(**SSE)).text
        assert text.split("\n\n").count(":") > 2
        assert [name for name, _ in parsed(text)] == ["partial", "answer"]

    with_door(scenario)


def test_a_client_that_leaves_in_the_middle_takes_its_work_along() -> None:
    async def scenario(door: Door) -> None:
        door.engine.partials, door.engine.delay_s = PARTIALS[:1], 15
        head = HEAD % len(BODY) + b"accept: text/event-stream\r\n\r\n"
        reader, writer = await door.send(head + BODY)
        assert b"event: partial" in await reader.readuntil(b"data: ")
        assert (door.engine.cancelled, door.gate.inside) == (0, 1)
        writer.close()
        await until(lambda: door.engine.cancelled == 1)
        await until(lambda: door.gate.inside == 0)

    with_door(scenario)


def test_who_does_not_read_counts_as_one_who_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "SEND_S", 0.02)
    closed = []

    async def stuck(message: Any) -> None:
        if message["type"] == "http.response.body":
            await asyncio.sleep(60)

    async def texts() -> Any:
        try:
            for partial in PARTIALS:
                yield partial
        finally:
            closed.append(True)

    async def scenario() -> None:
        stream = EventStream(stuck)
        with pytest.raises(ClientLeft):
            await stream.answer(texts())
        assert closed
        await asyncio.wait_for(stream.end(events.Response("{}")), 0.01)

    asyncio.run(scenario())
