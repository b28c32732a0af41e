"""settings → that many workers, kept alive: one that dies or falls silent is replaced.

`bentoml serve` looks after its workers every ten seconds, in a container not at all, and does not
see one that hangs. The listening socket is made here and outlives them: while a worker is being
replaced, connections wait for the next one.
"""

import logging
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from service.settings import OVERTIME_S, Settings

log = logging.getLogger("attendant")
BACKLOG = 2048
LOOK_S = 0.1
START_S = 120.0
"""How long a worker may take to load its models."""
LONGEST_PAUSE_S = 30.0
"""Between attempts to start a worker that never gets ready."""


@dataclass
class Worker:
    """A worker process and what was heard of it."""

    process: subprocess.Popen[bytes]
    pipe: int
    heard_s: float = field(default_factory=time.monotonic)
    ready: bool = False

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


class Supervisor:
    """Starts the workers, replaces them, hands signals on to them and ends with them."""

    def __init__(
        self,
        settings: Settings,
        command: tuple[str, ...] = ("service.worker",),
        metrics: Path | None = None,
    ) -> None:
        """`command` is the module of a worker, and options before its own.

        In the folder `metrics` the workers count together. Raises OSError where the port is taken.
        """
        self._metrics = metrics
        self._settings, self._command = settings, command
        self._workers: list[Worker] = []
        self._stopping_s: float | None = None
        self._failures = 0
        self._next_start_s = 0.0
        self._was_ready = False
        self._listening = socket.create_server((settings.host, settings.http_port), backlog=BACKLOG)

    def run(self, on_ready: Callable[[], None]) -> int:
        """Serve until a signal; returns the exit code, 0 where every worker ended in order."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_stop)
        signal.signal(signal.SIGHUP, self._hand_on)
        orderly = True
        while True:
            self._listen_to_hearts()
            for worker in [one for one in self._workers if one.process.poll() is not None]:
                orderly = self._bury(worker) and orderly
            if self._stopping_s is not None:
                # So that connections end up with a worker, or are refused once none listens.
                self._listening.close()
                if not self._workers:
                    return 0 if orderly else 1
                if time.monotonic() > self._stopping_s:
                    orderly = False
                    self._kill_all()
                continue
            if not self._was_ready and self._failures:
                self._kill_all()
                return 1  # what cannot start at all is not tried again
            if len(self._workers) < self._settings.workers:
                self._start()
            elif not self._was_ready and all(worker.ready for worker in self._workers):
                self._was_ready = True
                on_ready()

    def _start(self) -> None:
        if time.monotonic() < self._next_start_s:
            return
        ours, theirs = os.pipe()
        os.set_blocking(ours, False)
        http = self._listening.fileno()
        # prometheus_client reads the first when it is imported, our settings the second.
        names = ("PROMETHEUS_MULTIPROC_DIR", "ATTENDANT_METRICS_DIR") if self._metrics else ()
        command = ["env", *(f"{name}={self._metrics}" for name in names), sys.executable, "-m"]
        process = subprocess.Popen(
            [*command, *self._command, "--http", str(http), "--pipe", str(theirs)],
            pass_fds=(http, theirs),
            process_group=0,  # a Ctrl-C in the terminal reaches it through us alone
        )
        os.close(theirs)
        self._workers.append(Worker(process, ours))

    def _listen_to_hearts(self) -> None:
        readable, _, _ = select.select([worker.pipe for worker in self._workers], [], [], LOOK_S)
        now_s = time.monotonic()
        for worker in self._workers:
            if worker.pipe in readable and os.read(worker.pipe, 4096):
                worker.heard_s, worker.ready = now_s, True
                self._failures = 0
            bound_s = self._settings.worker_silence_s if worker.ready else START_S
            if now_s - worker.heard_s > bound_s and worker.process.poll() is None:
                log.error("worker %d is silent and is replaced", worker.process.pid)
                worker.kill()

    def _bury(self, worker: Worker) -> bool:
        """Forget a worker that has ended; True if it ended in order and was asked to."""
        os.close(worker.pipe)
        self._workers.remove(worker)
        code = worker.process.returncode
        if self._stopping_s is not None:
            return code == 0
        log.error("worker %d ended with %d", worker.process.pid, code)
        if not worker.ready:
            self._failures += 1
            pause_s = min(2.0**self._failures, LONGEST_PAUSE_S)
            self._next_start_s = time.monotonic() + pause_s
        return True

    def _hand_on(self, number: int, _: FrameType | None) -> None:
        for worker in self._workers:
            if worker.process.poll() is None:
                worker.process.send_signal(number)

    def _on_stop(self, number: int, frame: FrameType | None) -> None:
        if self._stopping_s is not None:  # asked twice
            self._kill_all()
            os._exit(128 + number)
        bound_s = self._settings.lame_duck_s + self._settings.drain_s + OVERTIME_S + 1
        self._stopping_s = time.monotonic() + bound_s
        self._hand_on(number, frame)

    def _kill_all(self) -> None:
        for worker in self._workers:
            worker.kill()
