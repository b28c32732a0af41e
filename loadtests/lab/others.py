"""a request, callers → the rate that wrk, hey or h2load measures in a closed loop over HTTP/1.1."""

import json
import re
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from shutil import which
from typing import Self

from loadtests.lab.plan import Call

PACKAGES: Mapping[str, str] = {"wrk": "wrk", "hey": "hey", "h2load": "nghttp2-client"}
"""Tool → Debian package."""
GRACE_S = 60.0


class Unread(Exception):
    """A tool failed, or its words have changed; the message is what it said."""


@dataclass(frozen=True)
class Asked:
    """A POST, in the files that the tools read."""

    url: str
    content_type: str
    body: Path
    script: Path
    """In Lua, for wrk."""

    @classmethod
    def of(cls, call: Call, address: str, folder: Path) -> Self:
        body, script = folder / "body", folder / "post.lua"
        body.write_bytes(call.body)
        content_type = call.headers["Content-Type"]
        script.write_text(
            f'local file = io.open({json.dumps(str(body))}, "rb")\n'
            'wrk.method = "POST"\nwrk.body = file:read("*a")\n'
            f'wrk.headers["Content-Type"] = {json.dumps(content_type)}\n'
        )
        return cls(address + call.target, content_type, body, script)


def _wrk(asked: Asked, users: str, seconds: str) -> list[str]:
    return ["wrk", "-t1", f"-c{users}", f"-d{seconds}s", "-s", str(asked.script), asked.url]


def _hey(asked: Asked, users: str, seconds: str) -> list[str]:
    options = ["-c", users, "-z", f"{seconds}s", "-m", "POST", "-T", asked.content_type]
    return ["hey", *options, "-D", str(asked.body), asked.url]


def _h2load(asked: Asked, users: str, seconds: str) -> list[str]:
    options = ["--h1", "-t1", f"-c{users}", f"-D{seconds}", f"-d{asked.body}"]
    return ["h2load", *options, "-H", f"content-type: {asked.content_type}", asked.url]


TOOLS: Mapping[str, tuple[Callable[[Asked, str, str], list[str]], str, str]] = {
    "wrk": (_wrk, r"Requests/sec:\s+([\d.]+)", r"Non-2xx|Socket errors"),
    "hey": (_hey, r"Requests/sec:\s+([\d.]+)", r"\[[345]\d\d\]\s+\d+ responses|Error distribution"),
    "h2load": (_h2load, r"([\d.]+) req/s", r"[1-9]\d* (?:failed|errored|timeout)"),
}
"""How it is called, where it says the rate, and what it says of requests that went wrong."""


def installed() -> list[str]:
    return [name for name in TOOLS if which(name)]


def read(tool: str, said: str) -> float:
    """Requests per second in a tool's words. Raises Unread."""
    _, rate, wrong = TOOLS[tool]
    found = re.search(rate, said)
    if found is None or re.search(wrong, said):
        raise Unread(f"{tool}: {said.strip()[-500:]}")
    return float(found[1])


def rate(tool: str, asked: Asked, *, users: int, duration_s: float) -> float:
    """Right answers per second to so many callers. Raises Unread."""
    command = TOOLS[tool][0](asked, str(users), f"{duration_s:.0f}")
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=duration_s + GRACE_S, check=False
    )
    if done.returncode:
        raise Unread(f"{tool}: {done.stderr.strip() or done.stdout.strip()}")
    return read(tool, done.stdout)
