"""What an HTTP client says about its call is obeyed: deadline, urgency, and that it has left."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import httpx
import pytest
import uvicorn
from fake_tasks import HttpEngine

from service.errors import Overloaded, Problem, Unavailable
from service.gate import Gate
from service.http import TaskDoor, pages

BODY = json.dumps({"text": "a"}).encode()
HEAD = (
    b"POST /shout HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: %d\r\n"
)


class Door:
    """A door behind a real server, and a client of it."""

    def __init__(self, client: httpx.AsyncClient, port: int) -> None:
        self.engine, self.gate, self.client, self.port = HttpEngine(), Gate(), client, port

    async def post(self, **headers: str) -> httpx.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.client.post("/shout", json={"text": "a"}, headers=named)

    async def send(self, raw: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(raw)
        await writer.drain()
        return reader, writer


@asynccontextmanager
async def opened() -> AsyncIterator[Door]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        client = httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}")
        door = Door(client, port)
        app = TaskDoor(door.engine, door.gate, pages(door.engine))  # type: ignore[arg-type]
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off"))
        serving = asyncio.create_task(server.serve([listening]))
        async with client:
            yield door
        server.should_exit = True
        await serving


def with_door(scenario: Callable[[Door], Awaitable[None]]) -> None:
    async def run() -> None:
        async with asyncio.timeout(20), opened() as door:
            await scenario(door)

    asyncio.run(run())


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.01)


def test_a_client_that_closes_its_connection_takes_its_work_along() -> None:
    async def scenario(door: Door) -> None:
        door.engine.delay_s = 15
        _, writer = await door.send(HEAD % len(BODY) + b"\r\n" + BODY)
        await until(lambda: bool(door.engine.asked))
        assert door.engine.cancelled == 0
        writer.close()
        await until(lambda: door.engine.cancelled == 1)
        await until(lambda: door.gate.inside == 0)
        door.engine.delay_s = 0
        assert (await door.post()).status_code == 200

    with_door(scenario)


def test_what_a_client_sends_early_is_no_farewell() -> None:
    async def scenario(door: Door) -> None:
        door.engine.delay_s = 0.2
        request = HEAD % len(BODY) + b"\r\n" + BODY
        reader, writer = await door.send(request + request)  # pipelined
        first = await reader.readuntil(b"}]}")
        second = await reader.readuntil(b"}]}")
        assert first.startswith(b"HTTP/1.1 200")
        assert b"HTTP/1.1 200" in second
        assert door.engine.cancelled == 0
        writer.close()

    with_door(scenario)


def test_the_deadline_is_what_the_client_and_the_server_allow() -> None:
    async def scenario(door: Door) -> None:
        await door.post(grpc_timeout="2S")
        await door.post()
        await door.post(grpc_timeout="9H")
        (_, _, asked_s), (_, _, cap_s), (_, _, over_s) = door.engine.asked
        limit_s = door.engine.settings.timeout_s
        assert 1.5 < (asked_s or 0) <= 2
        assert limit_s - 1 < (cap_s or 0) <= limit_s
        assert limit_s - 1 < (over_s or 0) <= limit_s

    with_door(scenario)


def test_a_body_that_does_not_come_is_not_waited_for_beyond_the_deadline() -> None:
    async def scenario(door: Door) -> None:
        reader, writer = await door.send(HEAD % 50 + b"grpc-timeout: 200m\r\n\r\n{")
        answer = await reader.readuntil(b"\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 504")
        assert json.loads(await reader.readuntil(b"}"))["field"] == "body"
        writer.close()
        assert not door.engine.asked

    with_door(scenario)


@pytest.mark.parametrize(("name", "value"), [("grpc-timeout", "soon"), ("priority", "u=8")])
def test_a_header_that_cannot_be_obeyed_is_refused_by_name(name: str, value: str) -> None:
    async def scenario(door: Door) -> None:
        reply = await door.post(**{name: value})
        assert reply.status_code == 400
        assert reply.json()["field"] == name
        assert not door.engine.asked

    with_door(scenario)


def test_the_urgency_reaches_the_engine() -> None:
    async def scenario(door: Door) -> None:
        for value in ("u=0", "u=6, i"):
            await door.post(priority=value)
        await door.post()
        assert door.engine.priorities == [3, -3, 0]

    with_door(scenario)


@pytest.mark.parametrize(
    ("problem", "seconds"),
    [(Overloaded("full", retry_after_s=2.1), "3"), (Unavailable("off", retry_after_s=0.2), "1")],
)
def test_who_is_sent_away_hears_when_to_come_back(problem: Problem, seconds: str) -> None:
    async def scenario(door: Door) -> None:
        door.engine.problem = problem
        reply = await door.post()
        assert (reply.status_code, reply.headers["retry-after"]) == (problem.status, seconds)
        door.engine.problem = Problem("broken")
        assert "retry-after" not in (await door.post()).headers

    with_door(scenario)


def test_a_closed_door_answers_who_is_inside_and_sends_newcomers_elsewhere() -> None:
    async def scenario(door: Door) -> None:
        door.engine.delay_s = 0.3
        inside = asyncio.create_task(door.post())
        await until(lambda: door.gate.inside == 1)
        door.gate.closed = True
        refused = await door.post()
        assert refused.status_code == 503
        assert refused.headers["retry-after"] == "1"
        assert not await door.gate.empty(0.01)
        assert await door.gate.empty(5)
        assert (await inside).status_code == 200
        assert len(door.engine.asked) == 1

    with_door(scenario)
