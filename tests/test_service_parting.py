"""A service that ends gives its connections back and resets none of them."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import uvicorn
from starlette.types import Receive, Scope, Send

from service.parting import LINGER_S, PART_S, Parting, Server

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
LENGTH = [(b"content-length", b"2")]
UPLOAD_BYTES = 4 << 20
UPLOAD = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % UPLOAD_BYTES


async def early(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers without a look at the body."""
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 503, "headers": LENGTH})
        await send({"type": "http.response.body", "body": b"no"})


class Ending:
    """A server in this event loop, whose end has begun or not."""

    def __init__(self) -> None:
        self.begun = False
        config = uvicorn.Config(
            Parting(early, lambda: self.begun), port=0, log_config=None, lifespan="off"
        )
        self.server = Server(config)
        self.served = asyncio.create_task(self.server.serve())

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        port = self.server.servers[0].sockets[0].getsockname()[1]
        return await asyncio.open_connection("127.0.0.1", port)

    def end(self) -> None:
        self.begun = self.server.should_exit = True


@asynccontextmanager
async def serving() -> AsyncIterator[Ending]:
    ending = Ending()
    while not ending.server.started:
        await asyncio.sleep(0.01)
    yield ending
    ending.end()
    await ending.served


def with_server(scenario: Callable[[Ending], Awaitable[None]]) -> None:
    async def run() -> None:
        async with asyncio.timeout(20), serving() as ending:
            await scenario(ending)

    asyncio.run(run())


async def close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()


async def answer(reader: asyncio.StreamReader) -> bytes:
    return await reader.readuntil(b"\r\n\r\nno")


def test_a_connection_is_kept_until_the_end_begins_and_is_then_given_back() -> None:
    async def scenario(ending: Ending) -> None:
        reader, writer = await ending.connect()
        for _ in range(2):
            writer.write(GET)
            assert b"connection: close" not in await answer(reader)
        ending.begun = True
        writer.write(GET)
        assert b"connection: close" in await answer(reader)
        assert await reader.read() == b""
        await close(writer)

    with_server(scenario)


def test_a_refusal_before_the_end_of_an_upload_arrives() -> None:
    async def scenario(ending: Ending) -> None:
        ending.begun = True
        reader, writer = await ending.connect()
        writer.write(UPLOAD)
        for _ in range(16):
            writer.write(bytes(UPLOAD_BYTES // 16))
            await writer.drain()
            await asyncio.sleep(0.01)
        assert (await answer(reader)).startswith(b"HTTP/1.1 503")
        await close(writer)

    with_server(scenario)


def test_an_upload_that_never_ends_is_not_waited_for() -> None:
    async def scenario(ending: Ending) -> None:
        ending.begun = True
        reader, writer = await ending.connect()
        writer.write(UPLOAD)
        assert (await answer(reader)).startswith(b"HTTP/1.1 503")
        await close(writer)

    with_server(scenario)


def test_a_request_that_is_on_its_way_at_the_end_is_answered() -> None:
    async def scenario(ending: Ending) -> None:
        waiting = [await ending.connect() for _ in range(8)]
        ending.end()
        await asyncio.sleep(PART_S / 2)
        for reader, writer in waiting:
            writer.write(GET)
            assert b"connection: close" in await answer(reader)
            await close(writer)
        began_s = asyncio.get_running_loop().time()
        await ending.served
        assert asyncio.get_running_loop().time() - began_s < PART_S

    with_server(scenario)


def test_an_idle_connection_ends_without_a_reset() -> None:
    async def scenario(ending: Ending) -> None:
        sees: list[Any] = []

        async def idle() -> None:
            reader, writer = await ending.connect()
            sees.append(await reader.read())
            for _ in range(3):  # as if they had left before the end was seen
                writer.write(GET)
                await asyncio.sleep(LINGER_S / 6)
            sees.append(reader.exception())
            await close(writer)

        clients = [asyncio.create_task(idle()) for _ in range(4)]
        await asyncio.sleep(0.1)
        ending.end()
        await asyncio.gather(*clients)
        assert sees.count(b"") == sees.count(None) == len(clients)

    with_server(scenario)
