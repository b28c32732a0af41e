"""What the doors cost is measured against echoes, and a miss is a miss."""

import asyncio

import pytest

from loadtests.serving import overhead
from loadtests.serving.doors import clients
from loadtests.serving.doors.clients import Load, WrongAnswer
from loadtests.serving.overhead import CLAIMS, Claim, Server

EMPTY = b"Content-Length: 0\r\n\r\n"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s"


def load(rate: float, p50_ms: float, p99_ms: float) -> Load:
    return Load(100 / rate, [p50_ms / 1e3] * 98 + [p99_ms / 1e3] * 2)


def judged(**rates: float) -> dict[tuple[str, str], str]:
    seen = {name.replace("_", ", "): [load(rate, 1, 3)] * 3 for name, rate in rates.items()}
    return {(row.tried, row.wanted): row.met for row in overhead.rows(seen) if row.wanted}


def test_a_claim_is_met_by_the_rates_of_the_same_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overhead, "CLAIMS", (Claim("ours", "theirs", 0.8),))
    monkeypatch.setattr(overhead, "TAILS", ())
    assert set(judged(ours=81, theirs=100).values()) == {"yes"}
    assert set(judged(ours=79, theirs=100).values()) == {"no"}


def test_a_long_tail_is_a_miss(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overhead, "CLAIMS", ())
    monkeypatch.setattr(overhead, "TAILS", ("ours",))
    for p99_ms, met in ((3.9, "yes"), (4.1, "no")):
        assert overhead.rows({"ours": [load(100, 1, p99_ms)]})[-1].met == met


def test_a_peer_that_is_not_installed_is_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overhead, "TAILS", ())
    rows = overhead.rows({CLAIMS[0].server: [load(100, 1, 2)]})
    assert {row.met for row in rows[1:]} == {"skipped"}


def test_the_real_doors_and_a_bare_one_give_back_what_they_are_sent() -> None:
    some: list[Server] = [one for one in overhead.servers("none") if one.command[0] != "none"]
    seen = overhead.measure(some, callers=2, rounds=1, seconds=0.2)
    assert len(seen) == 5
    assert all(loads[0].latencies_s for loads in seen.values())


@pytest.mark.parametrize(
    "answer", [ANSWER % (2, b"{}"), b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n"]
)
def test_a_server_that_answers_anything_else_ends_the_measurement(answer: bytes) -> None:
    async def reply(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10_000)
        writer.write(answer)
        await writer.drain()
        await reader.read()
        writer.close()

    async def scenario() -> None:
        async with await asyncio.start_server(reply, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            with pytest.raises(WrongAnswer):
                await clients.http(port, callers=1, seconds=0.2)

    asyncio.run(scenario())
