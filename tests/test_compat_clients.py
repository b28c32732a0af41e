"""The clients that people have pass unchanged, each in a process and an environment of its own."""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "service" / "examples"
SCRIPTS = sorted((ROOT / "tests" / "clients").glob("*.*"))
pytestmark = pytest.mark.clients


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_a_client_passes_unchanged(
    script: Path, every_surface: tuple[str, str], clients: Path, tmp_path: Path
) -> None:
    offline = {"HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"}  # would refuse this host, too
    environment = {name: value for name, value in os.environ.items() if name not in offline}
    interpreter = clients if script.suffix == ".py" else Path("/bin/sh")
    done = subprocess.run(
        [interpreter, script, *every_surface, EXAMPLES],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
