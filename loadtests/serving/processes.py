"""a command → a server in its own processes on its own ports, ended with all its children."""

import os
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

START_S = 180.0
STOP_S = 40.0


class NotStarted(Exception):
    """A server did not become ready; the message ends with the last lines of its log."""


@dataclass(frozen=True)
class Running:
    """A server that answers, and its processes."""

    process: psutil.Process
    url: str
    log: Path

    def family(self) -> list[psutil.Process]:
        """All processes of the server that live."""
        with suppress(psutil.NoSuchProcess):
            return [self.process, *self.process.children(recursive=True)]
        return []

    def cpu_s(self) -> float:
        """Processor time that all of them have used so far."""
        used_s = 0.0
        for process in self.family():
            with suppress(psutil.NoSuchProcess):
                times = process.cpu_times()
                used_s += times.user + times.system
        return used_s


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answers(url: str) -> bool:
    """True when a GET is answered with 200."""
    try:
        with urllib.request.urlopen(url, timeout=2) as response:
            return bool(response.status == 200)
    except OSError:
        return False


@contextmanager
def running(
    command: Sequence[str], *, port: int, ready: str, log: Path, variables: Mapping[str, str]
) -> Iterator[Running]:
    """Start a server and wait until GET `ready` is answered with 200; raises NotStarted."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as said:
        started = subprocess.Popen(
            command, stdout=said, stderr=said, env={**os.environ, **variables}
        )
    server = Running(psutil.Process(started.pid), f"http://127.0.0.1:{port}", log)
    try:
        deadline_s = time.monotonic() + START_S
        while not answers(server.url + ready):
            if started.poll() is not None or time.monotonic() > deadline_s:
                last = log.read_text(errors="replace").splitlines()[-5:]
                raise NotStarted("\n".join([f"{command[0]} did not become ready", *last]))
            time.sleep(0.1)
        yield server
    finally:
        _end(started, server.family())


def _end(started: subprocess.Popen[bytes], family: Sequence[psutil.Process]) -> None:
    """Ask politely, then kill what is left: a stopped or hanging child would outlive its parent."""
    for process in family:
        with suppress(psutil.NoSuchProcess):
            process.resume()
    started.terminate()
    with suppress(subprocess.TimeoutExpired):
        started.wait(STOP_S)
    for process in family:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    started.wait()
