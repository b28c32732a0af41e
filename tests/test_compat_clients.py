"""The clients that people have pass unchanged, each in a process and an environment of its own."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "service" / "examples"
SCRIPTS = sorted((ROOT / "tests" / "clients").glob("*.*"))
pytestmark = pytest.mark.clients


@pytest.fixture(scope="module")
def ports(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """Of a service with every surface: HTTP and gRPC."""
    folder = tmp_path_factory.mktemp("scripted")
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    service = subprocess.Popen(
        [sys.executable, ROOT / "tests" / "fake_service.py", folder],
        env={**os.environ, "PYTHONPATH": paths, "BENTOML_DO_NOT_TRACK": "True"},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert service.stdout is not None
    ready, http, rpc = service.stdout.readline().split()
    assert ready == "ready"
    yield http, rpc
    service.terminate()
    service.wait(20)
    service.stdout.close()


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_a_client_passes_unchanged(
    script: Path, ports: tuple[str, str], clients: Path, tmp_path: Path
) -> None:
    offline = {"HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"}  # would refuse this host, too
    environment = {name: value for name, value in os.environ.items() if name not in offline}
    interpreter = clients if script.suffix == ".py" else Path("/bin/sh")
    done = subprocess.run(
        [interpreter, script, *ports, EXAMPLES],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
