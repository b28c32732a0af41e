"""Short forms of soak, chaos and fuzz on a server with the image model, and what they catch."""

import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from random import Random
from threading import Thread

import pytest

from loadtests.scenarios import scenarios
from loadtests.serving.fuzz.findings import Findings
from loadtests.serving.fuzz.http import by_fields
from loadtests.serving.fuzz.sockets import WAYS, by_bytes
from loadtests.serving.processes import NotStarted, free_port, running
from loadtests.serving.shapes import shaped
from service.tasks import task, tasks

ROOT = Path(__file__).parents[1]
FEW = ["--bare", "--only", "image-classification"]


def run(command: str, *options: str) -> subprocess.CompletedProcess[str]:
    whole = [sys.executable, "-m", f"loadtests.serving.{command}", *options, *FEW]
    return subprocess.run(whole, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)


def test_no_generated_request_hurts_the_service() -> None:
    done = run("fuzz", "--requests", "60")
    assert done.returncode == 0, done.stdout + done.stderr
    for tried in ("schemathesis", "Hypothesis", "gRPC", "sockets", "examples afterwards"):
        assert tried in done.stdout


def test_a_service_that_is_asked_everything_at_once_answers_rightly() -> None:
    done = run("soak", "--minutes", "0.07", "--shapes", "2")
    rows = {line.split("  ")[1].strip(): line for line in done.stdout.splitlines() if "  " in line}
    assert "wrong answers" in rows, done.stdout + done.stderr
    # So short a run is all warm-up: what grows is for the long form.
    for tried in ("wrong answers", "failed requests", "metric series", "log"):
        assert rows[tried].rstrip().endswith("yes"), done.stdout


def test_a_worker_that_slept_answers_all_that_it_was_asked() -> None:
    done = run("chaos", "--fault", "stopped")
    assert "0 wrong" in done.stdout, done.stdout + done.stderr
    assert "never" not in done.stdout, done.stdout


def test_a_fault_that_nobody_knows_is_named() -> None:
    done = run("chaos", "--fault", "flood")
    assert done.returncode == 2
    assert "flood" in done.stderr


class Broken(BaseHTTPRequestHandler):
    """Fails at everything."""

    def do_POST(self) -> None:
        self.send_error(500)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def broken() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Broken)
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_door_that_fails_is_found_out_and_the_requests_are_kept(
    broken: str, tmp_path: Path
) -> None:
    fields, raw = Findings("fields", tmp_path), Findings("raw", tmp_path)
    by_fields(broken, [task("translation")], 5, fields, seed=0)
    by_bytes(broken, scenarios([task("translation")]), 20, raw, seed=0)
    assert len(fields.misses) == fields.sent == 5
    assert raw.misses
    assert (tmp_path / "fields-1.bin").read_bytes().startswith(b"translation")


def test_raw_requests_come_again_with_their_seed() -> None:
    one = scenarios([task("image-classification")])[0]
    for way in WAYS.values():
        assert way(one, Random(3)) == way(one, Random(3))


def test_every_task_has_shapes_that_differ_and_come_again_with_their_seed() -> None:
    for each in tasks():
        first, second = shaped(each, Random(1)), shaped(each, Random(2))
        assert first.message != second.message
        assert shaped(each, Random(1)).message == first.message


def test_a_server_that_ends_at_once_is_reported_with_its_last_words(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "print('no model'); raise SystemExit(3)"]
    started = running(command, port=free_port(), ready="/", log=tmp_path / "log.txt", variables={})
    with pytest.raises(NotStarted, match="no model"), started:
        pass
