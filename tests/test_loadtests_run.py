"""locust against small fake doors, in its own process since it patches the standard library."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from time import sleep
from typing import Any

import pytest
from fake_tasks import ANSWERS, FakeEngine, ShoutResponse, fake_service

from service.rpc import RpcServer
from service.tasks import task

ROOT = Path(__file__).parents[1]
DRIVER = """
import locust, json, sys
sys.path.insert(0, "tests")
from dataclasses import asdict
from fake_tasks import TASKS, fake_service
from loadtests.budgets import Door
from loadtests.run import run
from loadtests.scenarios import scenarios
addresses, options = json.loads(sys.argv[1])
rows = []
for door, address in addresses.items():
    recorder = run(scenarios(TASKS, fake_service()), Door(door), address, users=2, **options)
    rows += [asdict(recorder.figures(task.name, Door(door))) for task in TASKS]
print(json.dumps(rows))
"""


class FakeRest(ThreadingHTTPServer):
    """Answers each path with fixed bytes, every `wrong_every`-th time with others."""

    def __init__(self, answers: dict[str, bytes]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers, self.wrong_every, self.wrong = answers, 0, 0
        self.status, self.delay_s = 200, 0.0
        self.bodies: list[tuple[str, bytes]] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: FakeRest

    def _answer(self, status: int, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def do_GET(self) -> None:
        self._answer(503, self.server.answers[self.path])

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.bodies.append((self.path, body))
        sleep(self.server.delay_s)
        if self.server.wrong_every and len(self.server.bodies) % self.server.wrong_every == 0:
            self.server.wrong += 1
            return self._answer(200, b'{"shouts": []}')
        return self._answer(self.server.status, self.server.answers[self.path])

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def rest() -> Iterator[FakeRest]:
    answers = {
        "/shout": b'{"shouts": [{"text": "GR\\u00dcN!!"}]}',
        "/weigh-thing": b'{"weight": 2.0}',
    }
    with FakeRest(answers) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def grpc() -> Iterator[tuple[str, FakeEngine]]:
    engine, ports, over = FakeEngine(), [], Event()
    opened = Event()

    async def serve() -> None:
        server = RpcServer(engine, "127.0.0.1:0", 4_096, service=fake_service())
        await server.start()
        ports.append(server.port)
        opened.set()
        await asyncio.to_thread(over.wait)
        await server.stop(grace_s=0)

    thread = Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    opened.wait(10)
    yield f"127.0.0.1:{ports[0]}", engine
    over.set()
    thread.join()


def figures(addresses: dict[str, str], **options: float) -> dict[tuple[str, str], dict[str, Any]]:
    arguments = json.dumps([addresses, {"duration_s": 0.5, **options}])
    command = [sys.executable, "-c", DRIVER, arguments]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return {(row["task"], row["door"]): row for row in json.loads(done.stdout.splitlines()[-1])}


def test_every_request_is_counted_and_wrong_answers_are_failures(
    rest: FakeRest, grpc: tuple[str, FakeEngine], monkeypatch: pytest.MonkeyPatch
) -> None:
    address, engine = grpc
    rest.wrong_every = 5
    monkeypatch.setitem(ANSWERS, "shout", lambda _: ShoutResponse(shouts=[]))
    rows = figures({"REST": rest.address, "gRPC": address})
    of_rest = [row for (_, door), row in rows.items() if door == "REST"]
    assert sum(row["requests"] for row in of_rest) == len(rest.bodies) > 20
    assert sum(row["failures"] for row in of_rest) == rest.wrong > 0
    assert any("WrongAnswer" in row["fault"] for row in of_rest)
    shout, weigh = rows["shout", "gRPC"], rows["weigh-thing", "gRPC"]
    assert shout["requests"] + weigh["requests"] == len(engine.asked)
    assert shout["failures"] == shout["requests"] > 0
    assert "WrongAnswer" in shout["fault"]
    assert weigh["failures"] == 0 < weigh["p50_ms"] <= weigh["p99_ms"]


def test_refusals_and_doors_that_are_shut_are_failures(rest: FakeRest) -> None:
    rest.status = 429
    rows = figures({"REST": rest.address, "gRPC": "127.0.0.1:9"})
    assert len(rows) == 4
    assert all(row["failures"] == row["requests"] > 0 for row in rows.values())
    assert "429" in rows["shout", "REST"]["fault"]
    assert "UNAVAILABLE" in rows["shout", "gRPC"]["fault"]


def test_a_stall_shows_in_the_times_of_requests_that_came_due_meanwhile(rest: FakeRest) -> None:
    rest.delay_s = 0.25
    rows = figures({"REST": rest.address}, rate_per_s=40)
    # Two callers at 8 requests a second, about 20 due at once: the wait is part of their times.
    assert sum(row["requests"] for row in rows.values()) > 10
    assert max(row["p99_ms"] for row in rows.values()) > 1_000


def verdict(rest: FakeRest, *only: str) -> subprocess.CompletedProcess[str]:
    options = ["--host", rest.address, "--door", "REST", "--duration-s", "1", "--users", "2"]
    chosen = [part for name in only for part in ("--only", name)]
    command = [sys.executable, "-m", "loadtests", *options, *chosen]
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.fixture
def translation(rest: FakeRest) -> FakeRest:
    """Serves one real task and says that another is not there."""
    states = {"translation": "ready", "image-classification": "no such model in the store"}
    rest.answers["/status"] = json.dumps({"ready": True, "tasks": states}).encode()
    expected = json.dumps({"translations": [{"text": task("translation").expected}]})
    rest.answers["/translation"] = expected.encode()
    return rest


def test_right_answers_within_the_budget_exit_with_0(translation: FakeRest) -> None:
    done = verdict(translation, "translation")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "p99 ms" in done.stdout


def test_wrong_answers_and_tasks_that_are_not_served_exit_with_1(translation: FakeRest) -> None:
    translation.wrong_every = 10
    done = verdict(translation, "translation", "image-classification")
    assert done.returncode == 1
    said = " ".join(done.stdout.split())
    assert "over budget: translation" in said
    assert "WrongAnswer" in said
    assert "not served: no such model in the store" in said
