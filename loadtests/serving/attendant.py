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


def install(variables: Mapping[str, str]) -> None:
    """Put the shipped models in the store that the variables name."""
    command = [sys.executable, "-m", "service", "install"]
    subprocess.run(command, check=True, env={**os.environ, **variables}, stdout=subprocess.DEVNULL)


def prepared(store: Path = STORE) -> Path:
    """A store with the shipped models, put there unless they are in it."""
    store.mkdir(parents=True, exist_ok=True)
    install({**QUIET, "BENTOML_HOME": str(store.absolute())})
    return store


@contextmanager
def attendant(
    store: Path | None = None,
    variables: Mapping[str, str] | None = None,
    *,
    bentoml: bool = False,
) -> Iterator[Attendant]:
    """Serve a copy of a store; without one, the shipped models that need no network.

    `bentoml` starts it with BentoML's own command, without the process of `service serve`.
    """
    with TemporaryDirectory(prefix="attendant-") as folder:
        home = Path(folder) / "store"
        if store:
            shutil.copytree(store, home)
        http_port, grpc_port = free_port(), free_port()
        own = {
            **QUIET,
            "BENTOML_HOME": str(home),
            "HTTP_PORT": str(http_port),
            "GRPC_PORT": str(grpc_port),
            **({} if store else {"PIP_NO_INDEX": "1"}),
        }
        command = [sys.executable, "-m", "service", "serve"]
        if bentoml:
            install(own)
            command = [sys.executable, "-m", "bentoml", "serve", "service.app:Attendant"]
            command += ["--host", "127.0.0.1", "--port", str(http_port)]
        with running(
            command,
            port=http_port,
            ready="/readyz",
            log=Path(folder) / "log.txt",
            variables={**own, **(variables or {})},
        ) as server:
            address = f"127.0.0.1:{grpc_port}"
            yield Attendant(server.process, server.url, server.log, address, home)
