"""an input, a seed → whether a batch that is killed again and again loses or repeats anything."""

import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from loadtests.batch.inputs import FIXED, written
from loadtests.serving.goldens import same
from loadtests.serving.verdict import Row, judged
from service.setup import install_shipped
from service.tasks import task as task_of

TASK = "translation"
SHARD_ITEMS = 50
LIMIT_S = 600.0


def _command(path: Path, out: Path) -> list[str]:
    fixed = [part for name, value in FIXED[TASK].items() for part in ("--set", f"{name}={value}")]
    command = [sys.executable, "-m", "service.batch", TASK, str(path), str(out), *fixed]
    return [*command, "--shard-items", str(SHARD_ITEMS)]


def _shards(out: Path) -> int:
    return len(list(out.glob("part-*.jsonl")))


def _shard_s(out: Path) -> float:
    """What a shard took, in the mean: the machine says how soon a kill comes while work is left."""
    written_s = sorted(part.stat().st_mtime for part in out.glob("part-*.jsonl"))
    return (written_s[-1] - written_s[0]) / max(1, len(written_s) - 1)


def _killed(command: Sequence[str], out: Path, delay_s: float) -> bool:
    """Begin or go on, and be killed so long after the next shard; False if it ended."""
    before, deadline_s = _shards(out), time.monotonic() + LIMIT_S
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while _shards(out) == before and process.poll() is None and time.monotonic() < deadline_s:
        time.sleep(0.005)
    time.sleep(delay_s)
    process.send_signal(signal.SIGKILL)
    return process.wait() == -signal.SIGKILL


def _rows(out: Path) -> list[dict[str, Any]]:
    parts = sorted(out.glob("part-*.jsonl"))
    return [json.loads(line) for part in parts for line in part.read_text().splitlines()]


def killed(items: int, kills: int, folder: Path, seed: int = 0) -> Row:
    """Translate so many texts twice, once undisturbed, and hold the rows beside each other."""
    install_shipped(only=TASK)
    draw, path = random.Random(seed), written(task_of(TASK), items, folder)
    once, again = folder / "once", folder / "again"
    subprocess.run(_command(path, once), check=True, capture_output=True)
    delays_s = [draw.uniform(0, _shard_s(once)) for _ in range(kills)]
    done = sum(_killed(_command(path, again), again, delay_s) for delay_s in delays_s)
    subprocess.run(_command(path, again), check=True, capture_output=True)
    wanted, found = _rows(once), _rows(again)
    numbers = [row["row"] for row in found]
    lost = len({row["row"] for row in wanted} - set(numbers))
    repeated = len(numbers) - len(set(numbers))
    differ = sum(not same(*pair) for pair in zip(found, wanted, strict=False))
    saw = f"{done} kills, {len(found)} of {items} items; "
    saw += f"{lost} lost, {repeated} repeated, {differ} not as undisturbed"
    fine = bool(done) and numbers == list(range(items)) and not differ
    return judged(f"{TASK}, killed", saw, "each item once, in order, the same", met=fine)
