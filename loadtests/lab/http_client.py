"""an address → connections that send requests written beforehand, and what came back: HTTP/1.1.

A general client takes several times as long for a request, on cores that a server may need.
"""

import asyncio
import ssl
from collections import deque
from collections.abc import Callable, Mapping
from time import monotonic
from typing import Any, cast
from urllib.parse import urlsplit

import httptools

Heard = Callable[[bytes], None]


class NotConnected(OSError):
    """Nobody listens: nothing has been sent."""


class Lost(Exception):
    """The connection ended before the answer did, or what came is no HTTP."""


class Connection(asyncio.Protocol):
    """One request at a time."""

    def __init__(self) -> None:
        self.open = False
        self.idle_since_s = 0.0
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's has no such base
        self.open = True

    def ask(self, request: bytes, heard: Heard | None) -> "asyncio.Future[tuple[int, bytes]]":
        """Status and body; `heard` is told of every piece of a body as it comes. Raises Lost."""
        self._pieces: list[bytes] = []
        self._heard, self._has_head, self._has_end = heard, False, False
        self._parser: Any = httptools.HttpResponseParser(self)
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return self._answer

    def close(self) -> None:
        self.open = False
        self._transport.close()

    def data_received(self, data: bytes) -> None:
        if self._answer is None or self._answer.done():
            self.close()  # nothing was asked, or nobody waits any more
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(f"not HTTP: {error}: {data[:80]!r}")
            self.close()

    def on_header(self, name: bytes, _value: bytes) -> None:
        self._has_end = self._has_end or name.lower() in (b"content-length", b"transfer-encoding")

    def on_headers_complete(self) -> None:
        self._has_head = True

    def on_body(self, piece: bytes) -> None:
        self._pieces.append(piece)
        if self._heard:
            self._heard(piece)

    def on_message_complete(self) -> None:
        if not self._parser.should_keep_alive():
            self.close()
        self._finish()

    def _finish(self) -> None:
        if self._answer and not self._answer.done():
            self._answer.set_result((self._parser.get_status_code(), b"".join(self._pieces)))

    def _fail(self, why: str) -> None:
        if self._answer and not self._answer.done():
            self._answer.set_exception(Lost(why))

    def connection_lost(self, error: Exception | None) -> None:
        self.open = False
        if self._answer and error is None and self._has_head and not self._has_end:
            self._finish()  # a body without a length ends with its connection
        self._fail(repr(error) if error else "the server closed the connection")


class HttpClient:
    """As many connections as there are requests under way, kept as long as the server may."""

    def __init__(self, address: str, *, keep_s: float) -> None:
        parts = urlsplit(address)
        self._tls = ssl.create_default_context() if parts.scheme == "https" else None
        self._host, self._port = parts.hostname or "", parts.port or (443 if self._tls else 80)
        self._netloc, self._path = parts.netloc, parts.path.rstrip("/")
        self._keep_s = keep_s
        self._idle: deque[Connection] = deque()

    def request(self, target: str, headers: Mapping[str, str], body: bytes) -> bytes:
        """A POST, as it goes over the wire."""
        lines = [f"POST {self._path}{target} HTTP/1.1", f"Host: {self._netloc}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        lines += [f"Content-Length: {len(body)}", "", ""]
        return "\r\n".join(lines).encode() + body

    async def ask(self, request: bytes, heard: Heard | None = None) -> tuple[int, bytes]:
        """Status and body. Raises NotConnected or Lost."""
        connection = self._kept() or await self._new()
        try:
            answer = await connection.ask(request, heard)
        except BaseException:
            connection.close()
            raise
        if connection.open:
            connection.idle_since_s = monotonic()
            self._idle.append(connection)
        return answer

    def _kept(self) -> Connection | None:
        """The one used last; those that the server may be about to close are left to it."""
        while self._idle:
            connection = self._idle.pop()
            if connection.open and monotonic() - connection.idle_since_s < self._keep_s:
                return connection
            connection.close()
        return None

    async def _new(self) -> Connection:
        loop = asyncio.get_running_loop()
        try:
            _, made = await loop.create_connection(
                Connection, self._host, self._port, ssl=self._tls
            )
        except OSError as error:
            raise NotConnected(f"{self._netloc}: {error}") from error
        return made

    async def close(self) -> None:
        while self._idle:
            self._idle.pop().close()
