"""Offline batch on a real Ray: an engine that dies takes no item along, and none is done twice."""

import json
import os
import subprocess
import time
from pathlib import Path

import psutil
import pytest

pytestmark = pytest.mark.ray
ROOT = Path(__file__).parent.parent
ITEMS, LIMIT_S = 300, 180
ENGINE = "ray::Engine"
"""How Ray names the process of one."""


def engines(of: psutil.Process) -> list[psutil.Process]:
    return [one for one in of.children(recursive=True) if ENGINE in " ".join(one.cmdline())]


def test_an_engine_that_dies_on_a_cluster_loses_and_repeats_nothing(
    ray: Path, tmp_path: Path
) -> None:
    lines = [f"There are {at} books on the table." for at in range(ITEMS)]
    path, out = tmp_path / "in.txt", tmp_path / "out"
    path.write_text("".join(f"{line}\n" for line in lines))
    own = {
        **os.environ,
        "ATTENDANT_THREADS": "1",
        "BENTOML_HOME": str(tmp_path / "home"),
        "BENTOML_DO_NOT_TRACK": "True",
        "OTEL_SDK_DISABLED": "true",
        "PIP_NO_INDEX": "1",
        "PYTHONPATH": str(ROOT),
    }
    subprocess.run([ray, "-m", "service", "install"], check=True, cwd=ROOT, env=own)
    command = [ray, "-m", "service.batch", "translation", path, out, "--set", "source=en"]
    command += ["--set", "target=de", "--shard-items", "5", "--cluster", "local", "--engines", "2"]
    with (tmp_path / "log.txt").open("wb") as log:
        batch = subprocess.Popen(command, cwd=ROOT, env=own, stdout=log, stderr=log)
        deadline_s = time.monotonic() + LIMIT_S
        while not list(out.glob("part-*.jsonl")):
            assert batch.poll() is None, (tmp_path / "log.txt").read_text()
            assert time.monotonic() < deadline_s
            time.sleep(0.01)
        victim, _ = engines(psutil.Process(batch.pid))
        victim.kill()
        assert batch.poll() is None, "it ended before"
        assert batch.wait(LIMIT_S) == 0, (tmp_path / "log.txt").read_text()
    parts = sorted(out.glob("part-*.jsonl"))
    rows = [json.loads(line) for part in parts for line in part.read_text().splitlines()]
    assert [row["input"]["text"] for row in rows] == lines
    assert all(row["answer"] for row in rows)
