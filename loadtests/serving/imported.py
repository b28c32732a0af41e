"""`python -m loadtests.serving.imported`: a checkpoint of OPUS-MT's shape → its first answer.

Timed from when `python -m models import` starts until a service that starts after it has answered:
read, held against its library, exported, gated, stored, served. Its weights are random.
"""

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Annotated

import typer

from loadtests.serving.attendant import QUIET, attendant
from loadtests.serving.verdict import Row, conclude, judged

MOST_S = 180.0
MOST_COPIES = 4.0
"""Of the checkpoint, in the memory of the whole import."""
NAME = "opus-mt-en-de"
REQUEST = {"text": "I like to read books.", "source": "en", "target": "de", "max_new_tokens": 32}
KIB_OF_RSS = 1 if sys.platform == "darwin" else 1024
"""In what unit `ru_maxrss` counts."""


def imported(checkpoint: Path, folder: Path) -> int:
    """Import it into the store below a folder; returns the bytes that took at most."""
    command = [sys.executable, "-m", "models", "import", str(checkpoint), "--name", NAME]
    command += ["--out", str(folder / "out")]
    variables = {**os.environ, **QUIET, "BENTOML_HOME": str(folder / "store")}
    with (folder / "log.txt").open("wb") as log:
        started = subprocess.Popen(command, env=variables, stdout=log, stderr=log)
        _, status, usage = os.wait4(started.pid, 0)
    started.returncode = os.waitstatus_to_exitcode(status)
    if started.returncode:
        said = (folder / "log.txt").read_text(errors="replace")
        raise typer.BadParameter(f"{checkpoint} is not imported: {said[-1_000:]}")
    return usage.ru_maxrss * KIB_OF_RSS


def translated(url: str) -> str:
    """The first answer."""
    asked = urllib.request.Request(
        f"{url}/translation", json.dumps(REQUEST).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(asked, timeout=MOST_S) as answer:
        return str(json.load(answer)["translations"][0]["text"])


def measured(checkpoint: Path, folder: Path) -> Sequence[Row]:
    size_bytes = sum(file.stat().st_size for file in checkpoint.glob("*.safetensors"))
    began_s = perf_counter()
    peak_bytes = imported(checkpoint, folder)
    stored_s = perf_counter()
    with attendant(folder / "store", {"ATTENDANT_MODELS": NAME}) as server:
        translated(server.url)
        answered_s = perf_counter()
        (worker,) = server.workers()
        served_bytes = worker.memory_info().rss
    copies = peak_bytes / size_bytes
    return [
        Row(tried="the checkpoint", saw=f"{size_bytes / 1e6:.0f} MB"),
        Row(tried="imported, exported, gated, stored", saw=f"{stored_s - began_s:.1f} s"),
        judged("and its first answer", f"after {answered_s - began_s:.1f} s",
               f"within {MOST_S:g} s", met=answered_s - began_s <= MOST_S),
        judged("memory of the import", f"at most {peak_bytes / 1e6:.0f} MB, {copies:.2f} times it",
               f"under {MOST_COPIES:g} times it", met=copies < MOST_COPIES),
        Row(tried="memory of the worker that serves it", saw=f"{served_bytes / 1e6:.0f} MB"),
    ]  # fmt: skip


def main(
    checkpoint: Annotated[
        Path | None, typer.Option(help="Import this en-de folder; default: one that is made.")
    ] = None,
    record: Annotated[Path | None, typer.Option(help="Keep the table in this file.")] = None,
) -> None:
    """Import and serve it; exits 1 where it takes too long or too much memory."""
    with TemporaryDirectory(prefix="attendant-import-") as made:
        folder = Path(made)
        given = checkpoint or folder / "checkpoint"
        if checkpoint is None:
            # Not in this process: what one once held counts for those that it starts.
            make = [sys.executable, "-m", "loadtests.peers.opus_mt", str(given)]
            subprocess.run(make, check=True, capture_output=True)
        rows = measured(given, folder)
    conclude("bench-import", rows, {"checkpoint": given.name}, record=record)


if __name__ == "__main__":
    typer.run(main)
