"""the REST door's port ← bytes that no HTTP library sends: cut, pipelined, ambiguous, trickling."""

import re
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from random import Random
from time import sleep
from typing import Any
from urllib.parse import urlsplit

from hypothesis import strategies as st

from loadtests.scenarios import Scenario
from loadtests.serving.fuzz.findings import Findings
from loadtests.serving.fuzz.generate import each
from loadtests.serving.fuzz.mutations import mutate

PATIENCE_S = 1.0
PIPELINED_S = 60.0
"""Several whole requests, whose answers take their time."""
TRICKLE_S = 0.05
TRICKLED = 20
"""Bytes that a slow sender gets out before it goes."""
STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})")
CLOSE = "Connection: close"


def request(one: Scenario, *headers: str, body: bytes | None = None) -> bytes:
    """A whole request with these headers, or with its right length."""
    body = one.body if body is None else body
    told = headers or (f"Content-Length: {len(body)}", CLOSE)
    lines = [f"POST {one.path} HTTP/1.1", "Host: a", f"Content-Type: {one.content_type}", *told]
    return "\r\n".join([*lines, "", ""]).encode() + body


def truncated(one: Scenario, random: Random) -> bytes:
    whole = request(one)
    return whole[: random.randrange(len(whole))]


def wrong_length(one: Scenario, random: Random) -> bytes:
    size = len(one.body)
    lengths = (size - 1, size + 1, 0, -1, 2**31, 2**63, "x", "", " 5", "+5", "5, 5", "0x5", "५")
    return request(one, f"Content-Length: {random.choice(lengths)}", CLOSE)


def pipelined(one: Scenario, random: Random) -> bytes:
    first = f"Content-Length: {len(one.body)}"
    return request(one, first) * random.randint(1, 3) + request(one)


def smuggled(one: Scenario, random: Random) -> bytes:
    """Two ways to tell where the body ends, with a second request where they differ."""
    hidden = b"GET /status HTTP/1.1\r\nHost: a\r\n\r\n"
    length = f"Content-Length: {len(one.body) + len(hidden)}"
    chunked = "Transfer-Encoding: chunked"
    headers = random.choice((
        (length, chunked), (chunked, length), (length, "Content-Length: 0"),
        (length, "Transfer-Encoding: xchunked"), (length, "Transfer-Encoding : chunked"),
        (length, "Transfer-Encoding:\x0bchunked"), (chunked, "Transfer-Encoding: identity"),
        (length, " Transfer-Encoding: chunked"), (f"X: a\n{chunked}", length),
    ))  # fmt: skip
    body = random.choice((b"0\r\n\r\n", b"5\r\nabcde\r\n0\r\n\r\n", b"fffffffff\r\n", b"-1\r\n"))
    return request(one, *headers, body=body + hidden)


def odd_head(one: Scenario, random: Random) -> bytes:
    path = one.path.encode()
    line = random.choice((
        b"POST / HTTP/9.9", b"\x00\x01\x02", b"PRI * HTTP/2.0", b"\x16\x03\x01\x02", b"GET /",
        b"GET http://[::1/ HTTP/1.1", b"GET /%ff%00/../.. HTTP/1.1", b"POST /" + b"a" * 70_000,
        b"OPTIONS * HTTP/1.1", b"TRACE %s HTTP/1.1" % path, b"CONNECT a:1 HTTP/1.1",
        b"GET /static_content/../../etc/passwd HTTP/1.1", b"GET /static_content/%00 HTTP/1.1",
        b"HEAD %s HTTP/1.1" % path, b"GET /docs HTTP/1.0", b"get /status http/1.1",
    ))  # fmt: skip
    extra = random.choice((
        b"", b"\r\nA: " + b"b" * 100_000, b"\r\nA: b" * 500, b"\r\n: x", b"\r\nA\x00: b",
        b"\r\nHost: a\r\nHost: b", b"\r\nExpect: 100-continue", b"\r\nUpgrade: websocket",
        b"\r\ntraceparent: 00-zz", b"\r\nContent-Encoding: gzip", b"\r\nContent-Type: \xff\xfe",
    ))  # fmt: skip
    return line + extra + b"\r\n\r\n"


def changed(one: Scenario, random: Random) -> bytes:
    head, _, body = request(one).partition(b"\r\n\r\n")
    return mutate(head, random) + b"\r\n\r\n" + body


WAYS: Mapping[str, Callable[[Scenario, Random], bytes]] = {
    each.__name__: each
    for each in (truncated, wrong_length, pipelined, smuggled, odd_head, changed)
}
SLOW_SHARE = 0.005


def spoken(
    address: tuple[str, int], raw: bytes, *, limit_s: float, slowly: bool
) -> tuple[bytes, str]:
    """Send bytes and read until the service closes; returns what it said, and how it ended."""
    heard = b""
    try:
        with socket.create_connection(address, limit_s) as to:
            if slowly:
                for at in range(min(TRICKLED, len(raw))):
                    to.sendall(raw[at : at + 1])
                    sleep(TRICKLE_S)
                return b"", "left"
            with suppress(OSError):
                to.sendall(raw)
                if limit_s == PATIENCE_S:  # else the service takes it that nobody waits
                    to.shutdown(socket.SHUT_WR)
            while more := to.recv(65_536):
                heard += more
        return heard, "closed"
    except TimeoutError:
        return heard, "no end"
    except (ConnectionResetError, BrokenPipeError):  # refused before it had said all
        return heard, "reset"


def by_bytes(
    url: str, scenarios: list[Scenario], number: int, into: Findings, *, seed: int
) -> None:
    """Every way with every task's example; more answers than requests are a miss as well."""
    parts = urlsplit(url)
    address = (str(parts.hostname), int(parts.port or 80))
    made = st.tuples(
        st.sampled_from(scenarios), st.sampled_from(sorted(WAYS)), st.integers(0, 2**32)
    )

    def send(example: Any) -> None:
        one, way, drawn = example
        random = Random(drawn)
        raw = WAYS[way](one, random)
        slowly = random.random() < SLOW_SHARE
        try:
            limit_s = PIPELINED_S if way == "pipelined" else PATIENCE_S
            heard, ended = spoken(address, raw, limit_s=limit_s, slowly=slowly)
        except OSError as error:
            into.count(type(error).__name__)
            into.miss(f"{error!r} at {way}", raw)
            return
        statuses = [int(status) for status in STATUS.findall(heard)]
        into.count(f"{way} {'/'.join(map(str, sorted(set(statuses)))) or ended}")
        if any(status >= 500 and status not in (503, 504) for status in statuses):
            into.miss(f"{statuses} to {way}: {raw[:300]!r}", raw)
        if way == "smuggled" and statuses.count(200) > 1:
            into.miss(f"a hidden request was answered: {statuses} to {raw[:300]!r}", raw)
        if way == "pipelined" and not slowly and len(statuses) != raw.count(b"POST /"):
            into.miss(f"{len(statuses)} answers to {raw.count(b'POST /')} requests: {ended}", raw)

    each(made, number, send, seeded=seed)
