"""Counts of several workers → one scrape in which they add up."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from service import exposition

ROOT = Path(__file__).parent.parent
SHARE = """
import sys
from pathlib import Path
from service import exposition, telemetry
from service.errors import Overloaded
from service.schema import Timings

exposition.share(Path(sys.argv[1]))
LABELS = telemetry.Labels("shout", "own")
telemetry.ready(LABELS, sys.argv[2] == "ready")
"""
WORKER = """
telemetry.queue(LABELS, 5)
telemetry.tokens(LABELS, 7)
telemetry.stages(LABELS, Timings(queue_ms=100))
for door in ("http", "grpc"):
    with telemetry.observed("shout", door):
        telemetry.asks(LABELS)
try:
    with telemetry.observed("shout", "http"):
        telemetry.asks(LABELS)
        raise Overloaded("later")
except Overloaded:
    pass
with telemetry.observed("shout", "http"):
    print("counted", flush=True)
    sys.stdin.read()
"""
SCRAPE = """
telemetry.loaded(LABELS, "1", 100)
sys.stdout.buffer.write(exposition.text())
"""
Samples = dict[tuple[str, ...], float]


def started(code: str, folder: Path, state: str = "ready") -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), exposition.FOLDER: str(folder / "other")}
    return subprocess.Popen(
        [sys.executable, "-c", SHARE + code, str(folder / "workers"), state],
        env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


@contextmanager
def workers(folder: Path, *states: str) -> Iterator[list[subprocess.Popen[str]]]:
    """Processes that have counted the same, each with one request in flight."""
    running = [started(WORKER, folder, state) for state in states]
    try:
        for worker in running:
            assert worker.stdout is not None
            assert worker.stdout.readline() == "counted\n"
        yield running
    finally:
        for worker in running:
            worker.kill()
            worker.communicate()


def scraped(folder: Path) -> Samples:
    """What a third process that has counted nothing shows, by name and label values."""
    text, _ = started(SCRAPE, folder).communicate(timeout=30)
    return {
        (sample.name.removeprefix("attendant_"), *(v for _, v in sorted(sample.labels.items()))): (
            sample.value
        )
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_counts_of_two_workers_add_up(tmp_path: Path) -> None:
    with workers(tmp_path, "ready", "not") as running:
        seen = scraped(tmp_path)
    assert seen["requests_total", "ok", "http", "own", "shout"] == 2
    assert seen["requests_total", "ok", "grpc", "own", "shout"] == 2
    assert seen["requests_total", "resource_exhausted", "http", "own", "shout"] == 2
    assert seen["requests_total", "internal", "http", "own", "shout"] == 0
    assert seen["request_duration_seconds_count", "http", "own", "shout"] == 4
    assert seen["stage_duration_seconds_sum", "own", "queue", "shout"] == pytest.approx(0.2)
    assert seen["stage_duration_seconds_bucket", "0.1", "own", "queue", "shout"] == 2
    assert seen["tokens_total", "own", "shout"] == 14
    assert seen["queue_cost", "own", "shout"] == 10
    assert seen["requests_in_flight", "http", "shout"] == 2
    assert seen["model_ready", "own", "shout"] == 0, "one of them is not ready"
    assert seen["model_info", "own", "shout", "1"] == 1
    for worker in running:
        assert seen["process_resident_memory_bytes", str(worker.pid)] > 0


def test_what_a_killed_worker_counted_stays_and_what_it_held_does_not(tmp_path: Path) -> None:
    with workers(tmp_path, "ready", "ready") as (killed, other):
        killed.send_signal(signal.SIGKILL)
        killed.wait()
        seen = scraped(tmp_path)
    assert seen["requests_total", "ok", "http", "own", "shout"] == 2
    assert seen["requests_in_flight", "http", "shout"] == 1
    assert seen["queue_cost", "own", "shout"] == 5
    assert ("process_resident_memory_bytes", str(killed.pid)) not in seen
    assert ("process_resident_memory_bytes", str(other.pid)) in seen


def test_a_process_that_cannot_share_says_so(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=exposition.FOLDER):
        exposition.share(tmp_path)
