"""The clients that people have pass unchanged, each in a process and an environment of its own."""

import asyncio
import os
import subprocess
from pathlib import Path

import pytest
from fake_service import started
from test_service_life import OWN, running

from service import manifest as manifests
from service import store
from service.access import ADMIN
from service.access.keys import Keys

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "service" / "examples"
SCRIPTS = sorted((ROOT / "tests" / "clients").glob("*.*"))
BUSY = ROOT / "tests" / "clients" / "busy"
WITH_KEYS = sorted((ROOT / "tests" / "clients" / "keys").glob("*.py"))
pytestmark = pytest.mark.clients


def run(script: Path, ports: tuple[str, str], clients: Path, folder: Path, *keys: str) -> None:
    offline = {"HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"}  # would refuse this host, too
    environment = {name: value for name, value in os.environ.items() if name not in offline}
    interpreter = clients if script.suffix == ".py" else Path("/bin/sh")
    done = subprocess.run(
        [interpreter, script, *ports, EXAMPLES, *keys],
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


@pytest.mark.parametrize("script", WITH_KEYS, ids=lambda path: path.stem)
def test_with_a_key_for_it_a_client_loads_and_unloads_models(
    script: Path, clients: Path, tmp_path: Path
) -> None:
    store.install(manifests.SHIPPED / "image-classification")
    path = tmp_path / "keys.db"
    keys = Keys(path, create=True)
    made = keys.make("user", frozenset({"infer"})), keys.make("lead", frozenset({ADMIN}))
    keys.close()

    async def scenario() -> None:
        async with running(*OWN, keys_file=str(path)) as service:
            ports = str(service.http), str(service.rpc)
            await asyncio.to_thread(run, script, ports, clients, tmp_path, *made)

    asyncio.run(scenario())
