"""Workers that die or hang are replaced; stops are handed on, bounded, and end in order."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

SCRIPT = """
import sys
from service.settings import Settings
from service.supervisor import Supervisor
supervisor = Supervisor(Settings(), ("fake_worker", sys.argv[1]))
sys.exit(supervisor.run(lambda: print("ready", flush=True)))
"""
HERE = Path(__file__).parent


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


class Service:
    """A supervisor with fake workers in a process of its own."""

    def __init__(self, kind: str, **settings: str) -> None:
        self.port = free_port()
        paths = os.pathsep.join([str(HERE), str(HERE.parent)])
        environment = {**os.environ, "PYTHONPATH": paths, "HTTP_PORT": str(self.port), **settings}
        command = [sys.executable, "-c", SCRIPT, kind]
        self.process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE)
        assert self.process.stdout is not None
        self.said = self.process.stdout.readline()

    def ask(self) -> int:
        """The pid of the worker that answers; waits as connections do while none is there."""
        while True:
            with (
                suppress(ConnectionResetError),  # taken by a worker that was killed then
                socket.create_connection(("127.0.0.1", self.port), timeout=10) as connection,
            ):
                if answer := connection.recv(100):
                    return int(answer)


@contextmanager
def running(kind: str = "good", **settings: str) -> Iterator[Service]:
    service = Service(
        kind, **{f"ATTENDANT_{name.upper()}": value for name, value in settings.items()}
    )
    try:
        yield service
    finally:
        service.process.kill()
        service.process.wait()
        assert service.process.stdout is not None
        service.process.stdout.close()


def test_a_killed_worker_is_replaced_and_nobody_is_refused_meanwhile() -> None:
    with running() as service:
        first = service.ask()
        os.kill(first, signal.SIGKILL)
        second = first
        while second == first:
            second = service.ask()
        assert service.process.poll() is None
        service.process.terminate()
        assert service.process.wait(5) == 0


def test_a_worker_that_hangs_is_replaced() -> None:
    with running(worker_silence_s="0.5") as service:
        first = service.ask()
        os.kill(first, signal.SIGSTOP)
        began_s = time.monotonic()
        while service.ask() == first:  # a signal takes a moment
            assert time.monotonic() - began_s < 5


def test_as_many_workers_as_asked_for_share_the_port() -> None:
    with running(workers="2") as service:
        pids: set[int] = set()
        while len(pids) < 2:
            pids.add(service.ask())
        service.process.terminate()
        assert service.process.wait(5) == 0


def test_workers_that_cannot_start_end_the_service() -> None:
    with running("broken") as service:
        assert service.process.wait(5) == 1
        assert service.said == b""


@pytest.mark.parametrize("again", [True, False])
def test_a_worker_that_does_not_obey_is_ended(again: bool) -> None:
    overtime: dict[str, str] = {"lame_duck_s": "0", "drain_s": "0" if not again else "60"}
    with running("deaf", **overtime) as service:
        service.process.terminate()
        if again:
            time.sleep(0.3)
            service.process.terminate()
        began_s = time.monotonic()
        assert service.process.wait(15) != 0
        assert time.monotonic() - began_s < (3 if again else 12)


def test_a_taken_port_is_a_plain_refusal() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        environment = {**os.environ, "HTTP_PORT": str(taken.getsockname()[1])}
        command = [sys.executable, "-c", SCRIPT, "good"]
        done = subprocess.run(
            command, env=environment, cwd=HERE.parent, capture_output=True, check=False, timeout=20
        )
        assert done.returncode != 0
        assert b"in use" in done.stderr
