"""The image of `make image`, run by podman, keeps what docs/deploy.md promises of it."""

import asyncio
import json
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import grpc
import httpx
import pytest
from test_service_life import free_port, run, running

from service.http_body import binary_field
from service.pb import attendant_pb2, attendant_pb2_grpc
from service.tasks import Task, tasks

MAX_BYTES = 550_000_000
"""Unpacked, without the models and OpenVINO."""
READY_S = 5.0
CONFINED = (
    *("podman", "run", "--rm", "--read-only", "--read-only-tmpfs=false", "--tmpfs", "/tmp"),
    *("--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--network", "host"),
    *("--env", "HTTP_PORT", "--env", "GRPC_PORT", "--env", "ATTENDANT_HOST=127.0.0.1"),
)
CONTENTS = """
import importlib.metadata, importlib.util, json, os, shutil
def disk_bytes(top):
    stats = (os.lstat(os.path.join(at, name)) for at, _, names in os.walk(top) for name in names)
    return sum({(each.st_dev, each.st_ino): each.st_blocks * 512 for each in stats}.values())
folders = [each.path for each in os.scandir("/") if each.is_dir(follow_symlinks=False)
           and each.name not in ("proc", "sys", "dev", "tmp")]
print(json.dumps({
    "uid": os.getuid(),
    "bytes": sum(map(disk_bytes, folders)) - disk_bytes("/bento/models"),
    "programs": [name for name in ("gcc", "cc", "g++", "make", "pip", "uv") if shutil.which(name)],
    "modules": {name: bool(importlib.util.find_spec(name)) for name in
                ("torch", "pip", "openvino", "uvloop", "httptools")},
    "packages": {each.name: each.version for each in importlib.metadata.distributions()},
    "sbom": json.load(open("/opt/attendant/sbom.cdx.json")),
    "writable": [at for at, _, _ in os.walk("/") if os.access(at, os.W_OK)
                 and not at.startswith(("/proc", "/sys", "/dev", "/tmp", "/run"))],
}))
"""


def podman(*words: str) -> str:
    return subprocess.run(["podman", *words], check=True, capture_output=True, text=True).stdout


@pytest.fixture(scope="module")
def image(request: pytest.FixtureRequest) -> str:
    name: str | None = request.config.getoption("--image")
    if name is None:
        pytest.skip("make test-image builds one")
    found = subprocess.run(["podman", "image", "exists", name], check=False).returncode == 0
    assert found, f"no image {name}: run make image, or give it with --image"
    return name


@pytest.fixture(scope="module")
def inspected(image: str) -> Any:
    return json.loads(podman("image", "inspect", image))[0]


@pytest.fixture(scope="module")
def contents(image: str) -> Any:
    told = [*CONFINED[1:], "--entrypoint", "python", image, "-c", CONTENTS]
    return json.loads(podman(*told))


@pytest.fixture(scope="module")
def container(image: str) -> Iterator[tuple[str, int, int, float]]:
    """Name, both ports, and how many seconds it took from its start to be ready."""
    http, rpc = free_port(), free_port()
    ports = ("--env", f"HTTP_PORT={http}", "--env", f"GRPC_PORT={rpc}")
    name = podman(*CONFINED[1:], *ports, "--detach", image).strip()
    started = json.loads(podman("inspect", name))[0]["State"]["StartedAt"]
    begun_s = float(subprocess.check_output(["date", "+%s.%N", "--date", started[:35]]))
    try:
        while not _ready(http):
            assert time.time() < begun_s + 60, podman("logs", name)
            time.sleep(0.02)
        yield name, http, rpc, time.time() - begun_s
    finally:
        podman("rm", "--force", name)


def _ready(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/readyz").status_code == 200
    except httpx.TransportError:
        return False


def test_it_is_small_and_holds_what_serves_and_nothing_that_builds(contents: Any) -> None:
    print(f"{contents['bytes'] / 1e6:.0f} MB")
    assert contents["bytes"] <= MAX_BYTES
    assert contents["programs"] == []
    expected = {"uvloop", "httptools"}
    assert {name for name, there in contents["modules"].items() if there} == expected


def test_its_user_is_not_root_and_can_write_nowhere(contents: Any) -> None:
    assert contents["uid"] == 1034
    assert contents["writable"] == []


def test_the_sbom_lists_every_package_that_is_installed(contents: Any) -> None:
    listed = {each["name"]: each["version"] for each in contents["sbom"]["components"]}
    assert listed == contents["packages"]
    assert "onnxruntime" in listed


def test_it_says_what_it_is_and_reports_to_nobody(inspected: Any) -> None:
    labels = inspected["Labels"]
    assert labels["org.opencontainers.image.title"] == "attendant"
    assert labels["org.opencontainers.image.licenses"] == "Apache-2.0"
    assert labels["org.opencontainers.image.version"]
    assert labels["org.opencontainers.image.revision"]
    environment = dict(each.split("=", 1) for each in inspected["Config"]["Env"])
    assert environment["BENTOML_DO_NOT_TRACK"] == "True"
    assert environment["OTEL_SDK_DISABLED"] == "true"
    secret = [name for name in environment if "PIP" in name or "PROXY" in name.upper()]
    assert secret == []


def test_it_is_soon_ready_and_healthy(container: tuple[str, int, int, float]) -> None:
    name, _, _, ready_s = container
    print(f"ready after {ready_s:.2f} s")
    assert podman("healthcheck", "run", name).strip() == ""
    processes = podman("top", name, "pid").split()[1:]
    assert len(processes) == 2, "one worker, and what looks after it"
    assert ready_s < READY_S


@pytest.mark.parametrize("task", tasks(), ids=lambda task: task.name)
def test_it_answers_every_task_on_both_doors(
    task: Task, container: tuple[str, int, int, float]
) -> None:
    _, http, rpc, _ = container
    request = task.example()
    sent: dict[str, Any] = {"json": request.model_dump(mode="python")}
    if binary := binary_field(task):
        sent = {"files": {binary: getattr(request, binary)}}
    answer = httpx.post(f"http://127.0.0.1:{http}/{task.name}", timeout=30, **sent)
    assert task.expected in answer.text
    method = attendant_pb2.DESCRIPTOR.services_by_name["Attendant"].methods_by_name[task.rpc]
    fields = request.model_dump(exclude_defaults=True)
    if isinstance(fields.get("text"), str):
        fields["text"] = [fields["text"]]
    with grpc.insecure_channel(f"127.0.0.1:{rpc}") as channel:
        stub: Any = attendant_pb2_grpc.AttendantStub(channel)  # type: ignore[no-untyped-call]
        message = method.input_type._concrete_class(**fields)
        assert task.expected in str(getattr(stub, task.rpc)(message, timeout=30))


def test_a_stop_under_load_loses_nothing(image: str) -> None:
    lame_duck = ("--env", "ATTENDANT_LAME_DUCK_S")

    async def scenario() -> None:
        async with running(*CONFINED, *lame_duck, image) as service:
            asks = [service.post, service.call] * 4
            clients = [asyncio.create_task(service.keep_asking(ask)) for ask in asks]
            await asyncio.sleep(1)
            service.process.terminate()  # podman hands it on
            await asyncio.gather(*clients)
            assert await service.process.wait() == 0
            assert service.outcomes.pop("200") > 8
            assert service.outcomes == {"503": 4, "UNAVAILABLE": 4}

    run(scenario)
