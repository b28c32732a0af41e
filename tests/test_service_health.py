"""The health check of a container agrees with the service's readiness."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from service.health import ready


class Door(BaseHTTPRequestHandler):
    """Answers with the status that its path asks for."""

    def do_GET(self) -> None:
        self.send_response(int(self.path.strip("/")))
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def door() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Door) as server:
        threading.Thread(target=server.serve_forever).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_only_200_is_ready(door: str) -> None:
    assert ready(f"{door}/200")
    assert not ready(f"{door}/503")


def test_nobody_there_is_not_ready(door: str) -> None:
    assert not ready("http://127.0.0.1:1/readyz")
