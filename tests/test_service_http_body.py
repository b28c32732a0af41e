"""What is sent as a form is read in memory: nothing of it is written to a disk."""

import tempfile
from pathlib import Path

import httpx
import pytest
from fake_tasks import HttpEngine
from starlette.testclient import TestClient

from service.gate import Gate
from service.http import TaskDoor, pages
from service.settings import MIB, Settings


class Roomy(HttpEngine):
    settings = Settings(max_body_bytes=4 * MIB)


def post(size: int) -> httpx.Response:
    engine = Roomy()
    door = TaskDoor(engine, Gate(), pages(engine))  # type: ignore[arg-type]
    client = TestClient(door, raise_server_exceptions=False)
    return client.post("/weigh-thing", files={"thing": ("a.bin", bytes(size))})


@pytest.mark.parametrize(("size", "status"), [(50, 200), (2 * MIB, 422)])
def test_an_upload_needs_no_disk(
    size: int, status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    assert post(size).status_code == status
