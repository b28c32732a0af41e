"""A/B of two services: one that stalls again and again is found to be the slower one."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

import psutil
import pytest
from fake_service import started
from typer.testing import CliRunner

from loadtests.__main__ import app
from loadtests.results import Comparison, read
from loadtests.verdict.comparison import differences

STALLS_S, GOES_S = 0.1, 0.01
PAIRS = 8


@contextmanager
def stalling(pid: int) -> Iterator[None]:
    """A process that stands still for nearly all of the time."""
    process, over = psutil.Process(pid), Event()

    def work() -> None:
        while not over.wait(GOES_S):
            process.suspend()
            time.sleep(STALLS_S)
            process.resume()

    thread = Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def test_a_service_that_stalls_is_told_from_one_that_does_not(
    every_surface: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("loadtests.verdict.differences.RESAMPLES", 499)
    out = tmp_path / "ab.json"
    options = ["--task", "image-classification", "--door", "REST", "--scenario", "single-stream"]
    options += ["--pairs", str(PAIRS), "--block", "1", "--out", str(out)]
    with started(tmp_path) as (pid, http, _):
        sides = [f"127.0.0.1:{every_surface[0]}", f"127.0.0.1:{http}"]
        with stalling(pid):
            told = CliRunner().invoke(app, ["ab", *sides, *options, "--report", str(tmp_path)])
    assert told.exit_code == 1, told.output
    assert "worse" in told.output
    measured = read(out)
    assert isinstance(measured, Comparison)
    assert len(measured.blocks) == 2 * PAIRS
    found = {each.figure: each for each in differences(measured)}
    assert found["answered per s"].verdict == found["p50_ms"].verdict == "worse"
    assert found["p50_ms"].low > 0
    assert found["answered, share"].verdict == "no difference larger than noise"
