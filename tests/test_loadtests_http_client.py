"""A client for load: what servers do to connections is told apart, and connections are kept."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from loadtests.lab.http_client import HttpClient, Lost, NotConnected
from loadtests.serving.processes import free_port

Scenario = Callable[[HttpClient], Awaitable[None]]
SIZED = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n",
    b"2\r\nlo\r\n",
    b"0\r\n\r\n",
)


def with_server(
    scenario: Scenario, *pieces: bytes, closes: bool = False, keep_s: float = 3
) -> list[bytes]:
    """Run it against a server that answers so; returns the first requests of its connections."""
    firsts: list[bytes] = []

    async def answered(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first = True
        while request := await reader.read(10_000):
            firsts.extend([request] if first else [])
            first = False
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0.01)
            if closes:
                break
        writer.close()

    async def run() -> None:
        async with asyncio.timeout(20):
            server = await asyncio.start_server(answered, "127.0.0.1", 0)
            port = server.sockets[0].getsockname()[1]
            client = HttpClient(f"http://127.0.0.1:{port}/api/", keep_s=keep_s)
            await scenario(client)
            await client.close()
            server.close()
            await asyncio.sleep(0.05)

    asyncio.run(run())
    return firsts


async def thrice(client: HttpClient) -> None:
    request = client.request("/translate", {"A": "b"}, b"body")
    for _ in range(3):
        assert await client.ask(request) == (200, b"hello")


def test_a_request_is_what_it_says_and_its_connection_is_kept() -> None:
    (first,) = with_server(thrice, SIZED)
    head, _, body = first.partition(b"\r\n\r\n")
    assert head.startswith(b"POST /api/translate HTTP/1.1\r\nHost: 127.0.0.1:")
    assert head.endswith(b"\r\nA: b\r\nContent-Length: 4")
    assert body == b"body"


@pytest.mark.parametrize(
    ("pieces", "keep_s"),
    [((SIZED,), 0.0), ((SIZED.replace(b"OK\r\n", b"OK\r\nConnection: close\r\n"),), 3.0)],
)
def test_a_connection_that_is_old_or_not_to_be_kept_is_not_used_again(
    pieces: tuple[bytes, ...], keep_s: float
) -> None:
    assert len(with_server(thrice, *pieces, keep_s=keep_s)) == 3


def test_a_connection_that_the_server_closed_meanwhile_is_not_used_again() -> None:
    async def scenario(client: HttpClient) -> None:
        for _ in range(2):
            assert await client.ask(client.request("/", {}, b"")) == (200, b"hello")
            await asyncio.sleep(0.05)

    assert len(with_server(scenario, SIZED, closes=True)) == 2


def test_pieces_of_a_stream_are_heard_as_they_come() -> None:
    heard: list[bytes] = []

    async def scenario(client: HttpClient) -> None:
        asked = asyncio.create_task(client.ask(client.request("/", {}, b""), heard.append))
        while not heard:
            await asyncio.sleep(0.001)
        assert not asked.done()
        assert await asked == (200, b"hello")

    with_server(scenario, *CHUNKED)
    assert heard == [b"hel", b"lo"]


def test_a_body_without_a_length_ends_with_its_connection() -> None:
    async def scenario(client: HttpClient) -> None:
        assert await client.ask(client.request("/", {}, b"")) == (200, b"hello")

    with_server(scenario, b"HTTP/1.1 200 OK\r\n\r\nhel", b"lo", closes=True)


@pytest.mark.parametrize("answer", [b"", SIZED[:-1], CHUNKED[0], b"SSH-2.0-OpenSSH\r\n\r\n"])
def test_an_answer_that_is_cut_off_or_no_http_is_a_lost_request(answer: bytes) -> None:
    async def scenario(client: HttpClient) -> None:
        with pytest.raises(Lost):
            await client.ask(client.request("/", {}, b""))

    with_server(scenario, answer, closes=True)


def test_a_request_that_nobody_waits_for_takes_its_connection_along() -> None:
    async def scenario(client: HttpClient) -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.ask(client.request("/", {}, b"")), 0.005)
        assert (await client.ask(client.request("/", {}, b"")))[1] == b"hello"

    assert len(with_server(scenario, *CHUNKED)) == 2


def test_where_nobody_listens_nothing_was_sent() -> None:
    async def scenario() -> None:
        client = HttpClient(f"http://127.0.0.1:{free_port()}", keep_s=3)
        with pytest.raises(NotConnected):
            await client.ask(client.request("/", {}, b""))

    asyncio.run(scenario())
