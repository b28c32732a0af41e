"""The clients that people have pass unchanged, each in a process and an environment of its own."""

import os
import subprocess
from pathlib import Path

import pytest
from fake_service import started

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "service" / "examples"
SCRIPTS = sorted((ROOT / "tests" / "clients").glob("*.*"))
BUSY = ROOT / "tests" / "clients" / "busy"
pytestmark = pytest.mark.clients


def run(script: Path, ports: tuple[str, str], clients: Path, folder: Path) -> None:
    offline = {"HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"}  # would refuse this host, too
    environment = {name: value for name, value in os.environ.items() if name not in offline}
    interpreter = clients if script.suffix == ".py" else Path("/bin/sh")
    done = subprocess.run(
        [interpreter, script, *ports, EXAMPLES],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_a_client_passes_unchanged(
    script: Path, every_surface: tuple[str, str], clients: Path, tmp_path: Path
) -> None:
    run(script, every_surface, clients, tmp_path)


def test_a_client_that_is_told_to_come_again_does_and_one_that_leaves_frees_its_row(
    clients: Path, tmp_path: Path
) -> None:
    with started(tmp_path, step_s=0.02) as (_, *ports):
        run(BUSY / "openai_audio.py", (ports[0], ports[1]), clients, tmp_path)
