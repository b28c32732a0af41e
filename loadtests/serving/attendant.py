"""a model store → Attendant serving a copy of it, so that what is done to it harms nobody."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil

from loadtests.serving.processes import Running, free_port, running

STORE = Path("build/serving/store")
"""Where the shipped models are kept between commands: Whisper's weights come over the network."""
QUIET = {"BENTOML_DO_NOT_TRACK": "True", "OTEL_SDK_DISABLED": "true"}
RUNTIME = "onnxruntime"
ERROR = re.compile(r"^Traceback .*\n(?:(?: .*)?\n)*(\S.*)$", re.MULTILINE)
BROKEN = "the handler is closed"
"""uvicorn 0.54 answers on connections that it has closed itself after bytes that are no HTTP."""


@dataclass(frozen=True)
class Attendant(Running):
    """A running service, with its store."""

    grpc: str
    home: Path

    def workers(self) -> list[psutil.Process]:
        """Those that hold a model: they have loaded the runtime, and no children."""
        found = []
        for process in self.family():
            with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                if not process.children() and any(
                    RUNTIME in each.path for each in process.memory_maps()
                ):
                    found.append(process)
        return found

    def unhandled(self) -> list[str]:
        """The errors in the log that nobody handled, without those of connections that broke."""
        said = self.log.read_text(errors="replace")
        return [line for line in ERROR.findall(said) if BROKEN not in line]


def prepared(store: Path = STORE) -> Path:
    """Put the shipped models in a store, unless they are there."""
    store.mkdir(parents=True, exist_ok=True)
    subprocess.run(
        [sys.executable, "-m", "service", "install"],
        check=True,
        env={**os.environ, **QUIET, "BENTOML_HOME": str(store.absolute())},
        stdout=subprocess.DEVNULL,
    )
    return store


@contextmanager
def attendant(
    store: Path | None = None, settings: Mapping[str, str] | None = None, *, log: Path | None = None
) -> Iterator[Attendant]:
    """Serve a copy of a store; without one, the shipped models that need no network."""
    with TemporaryDirectory(prefix="attendant-") as folder:
        home = Path(folder) / "store"
        if store:
            shutil.copytree(store, home)
        http_port, grpc_port = free_port(), free_port()
        variables = {
            **QUIET,
            "BENTOML_HOME": str(home),
            "HTTP_PORT": str(http_port),
            "GRPC_PORT": str(grpc_port),
            **({} if store else {"PIP_NO_INDEX": "1"}),
            **(settings or {}),
        }
        command = [sys.executable, "-m", "service", "serve"]
        log = log or Path(folder) / "log.txt"
        with running(
            command, port=http_port, ready="/readyz", log=log, variables=variables
        ) as server:
            yield Attendant(
                server.process, server.url, server.log, f"127.0.0.1:{grpc_port}", home
            )
