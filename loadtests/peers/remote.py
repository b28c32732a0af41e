"""a peer → its worker process: orders go out, answers come back or a reason why not."""

import json
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from queue import Empty, Queue
from threading import Thread
from typing import Any

from loadtests.peers.peer import Peer

ROOT = Path(__file__).parents[2]
LOAD_S = 900.0
"""Some engines convert the weights when they first load them."""
DEVELOP = "develop"
"""The environment of whoever holds the race."""


class Skipped(Exception):
    """The peer is not installed here."""


class Failed(Exception):
    """The peer broke, or took too long."""


def python_of(environment: str, environments: Path) -> Path:
    """The interpreter of an environment; raises Skipped where there is none."""
    if environment == DEVELOP:
        return Path(sys.executable)
    python = environments / environment / "bin" / "python"
    if not python.exists():
        raise Skipped(f"no environment {environments / environment}; make bench-engines makes it")
    return python


class Remote:
    """A running worker."""

    def __init__(
        self, peer: Peer, *, folder: Path, environments: Path, threads: int, log: Path
    ) -> None:
        python = python_of(peer.environment, environments)
        what = {"engine": peer.engine, "variant": peer.variant, "threads": threads}
        argument = json.dumps({**what, "folder": str(folder.absolute())})
        pools = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
        variables = [f"{name}={threads}" for name in pools]
        variables += ["HF_HUB_OFFLINE=1", "TOKENIZERS_PARALLELISM=false"]
        command = ["env", *variables, str(python), "-m", "loadtests.peers.worker", argument]
        log.parent.mkdir(parents=True, exist_ok=True)
        self.log = log
        with log.open("w") as errors:
            self.process = subprocess.Popen(
                command,
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        self.lines: Queue[str] = Queue()
        self.listener = Thread(target=self._listen, daemon=True)
        self.listener.start()

    def _listen(self) -> None:
        assert self.process.stdout
        with self.process.stdout as answers:
            for line in answers:
                self.lines.put(line)
        self.lines.put("")

    def answer(self, timeout_s: float) -> dict[str, Any]:
        """The next answer; raises Skipped or Failed, after which the worker is gone."""
        try:
            line = self.lines.get(timeout=timeout_s)
        except Empty:
            self.close()
            raise Failed(f"no answer within {timeout_s:.0f} s") from None
        reply: dict[str, Any] = json.loads(line) if line else {"failed": f"died; see {self.log}"}
        for kind, fault in {"skipped": Skipped, "failed": Failed}.items():
            if kind in reply:
                self.close()
                raise fault(reply[kind])
        return reply

    def ask(self, order: Mapping[str, Any], timeout_s: float) -> dict[str, Any]:
        assert self.process.stdin
        with suppress(OSError):  # it died; the answer says so
            self.process.stdin.write(json.dumps(order) + "\n")
            self.process.stdin.flush()
        return self.answer(timeout_s)

    def close(self) -> None:
        assert self.process.stdin
        self.process.kill()
        self.process.wait()
        self.listener.join()
        with suppress(OSError):  # an order may still be on its way
            self.process.stdin.close()
