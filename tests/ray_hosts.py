"""root → hosts on one machine: each with a network, processes and temporary files of its own."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from uuid import uuid4

NETWORK = "10.77.0"
OUTSIDE = 254
"""The last byte of the address from which clients ask."""


def run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, timeout=30)


def why_not() -> str | None:
    """What keeps hosts from being made here."""
    if os.geteuid() != 0:
        return "needs root"
    name = f"try-{uuid4().hex[:6]}"
    try:
        run("ip", "netns", "add", name)
        run("ip", "netns", "del", name)
    except (OSError, subprocess.SubprocessError) as error:
        return f"no network namespaces here: {error}"
    return None


class Hosts:
    """A bridge to which hosts are plugged; `process` runs a command on one of them."""

    def __init__(self, temporary: Path, log: Path) -> None:
        """`temporary` is another empty folder on each host."""
        self._temporary, self._log = temporary, log
        self._tag = uuid4().hex[:4]
        self._hub = f"hub-{self._tag}"
        self._kept = ExitStack()
        self._namespace(self._hub)
        run("ip", "-n", self._hub, "link", "add", "bridge", "type", "bridge")
        run("ip", "-n", self._hub, "addr", "add", f"{NETWORK}.{OUTSIDE}/24", "dev", "bridge")
        run("ip", "-n", self._hub, "link", "set", "bridge", "up")

    def _namespace(self, name: str) -> None:
        run("ip", "netns", "add", name)
        self._kept.callback(run, "ip", "netns", "del", name)
        run("ip", "-n", name, "link", "set", "lo", "up")

    def plug(self, number: int) -> str:
        """A new host; returns its address."""
        name, wire = f"host{number}-{self._tag}", f"v{number}-{self._tag}"
        self._namespace(name)
        run("ip", "link", "add", wire, "netns", self._hub, "type", "veth",
            "peer", "name", "eth0", "netns", name)  # fmt: skip
        run("ip", "-n", self._hub, "link", "set", wire, "master", "bridge", "up")
        run("ip", "-n", name, "addr", "add", f"{NETWORK}.{number}/24", "dev", "eth0")
        run("ip", "-n", name, "link", "set", "eth0", "up")
        return f"{NETWORK}.{number}"

    def process(
        self, number: int, command: Sequence[str], variables: Mapping[str, str]
    ) -> "subprocess.Popen[bytes]":
        """A process on a host, to which all that it starts belongs: it ends with it."""
        own = ["ip", "netns", "exec", f"host{number}-{self._tag}",
               "unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc",
               "sh", "-c", 'mount -t tmpfs none "$0" && mount -t tmpfs none /dev/shm && exec "$@"',
               str(self._temporary)]  # fmt: skip
        with self._log.open("ab") as log:
            process = subprocess.Popen(
                [*own, *command], env={**os.environ, **variables}, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip
        self._kept.callback(off, process)
        return process

    def ask(
        self, command: Sequence[str], variables: Mapping[str, str]
    ) -> "subprocess.CompletedProcess[str]":
        """A command that runs beside the hosts, to its end."""
        return subprocess.run(
            ["ip", "netns", "exec", self._hub, *command],
            env={**os.environ, **variables}, capture_output=True, text=True,
            timeout=120, check=False,
        )  # fmt: skip

    def outside(self, script: Path, *arguments: str) -> "subprocess.Popen[str]":
        """A script that asks the hosts from beside them, with this interpreter."""
        command = ["ip", "netns", "exec", self._hub, sys.executable, str(script), *arguments]
        own = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=own)
        self._kept.callback(off, process)
        return process

    def close(self) -> None:
        self._kept.close()


def off(process: "subprocess.Popen[bytes] | subprocess.Popen[str]") -> None:
    """As if its host's power were cut."""
    process.send_signal(signal.SIGKILL)
    process.wait(30)
    if process.stdout:
        process.stdout.close()


@contextmanager
def hosts(folder: Path) -> Iterator[Hosts]:
    temporary = folder / "tmp"
    temporary.mkdir()
    made = Hosts(temporary, folder / "log.txt")
    try:
        yield made
    finally:
        made.close()
