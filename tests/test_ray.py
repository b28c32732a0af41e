"""Ray Serve on several hosts: both doors answer, and a host that dies takes only its own along."""

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from ray_hosts import Hosts, hosts, off, why_not

from deploy.ray.proxy import LOST

pytestmark = [
    pytest.mark.ray,
    pytest.mark.skipif(why_not() is not None, reason=why_not() or ""),
]
ROOT = Path(__file__).parent.parent
HEAD, FIRST, SECOND, SPARE = 1, 2, 3, 4
OBJECTS_BYTES = 80 << 20
RECOVERY_S = 10
APPLICATION = """
http_options: {host: 0.0.0.0, port: 8000}
grpc_options: {port: 9000, grpc_servicer_functions: [deploy.ray.rpc.add_to_server]}
proxy_location: HeadOnly
applications:
  - name: attendant
    route_prefix: /
    import_path: deploy.ray.app:attendant
    args: {tasks: [translation]}
    deployments:
      - name: Attendant
        num_replicas: 2
        max_ongoing_requests: 256
        health_check_period_s: 1
        health_check_timeout_s: 3
        ray_actor_options: {num_cpus: 1}
"""


@dataclass
class Cluster:
    """A head and two hosts with a replica each; another host may join."""

    hosts: Hosts
    python: Path
    folder: Path
    variables: Mapping[str, str]
    head: str

    def join(self, number: int, *options: str) -> "subprocess.Popen[bytes]":
        address = self.hosts.plug(number) if number != HEAD else self.head
        command = [str(self.python.parent / "ray"), "start", "--block", "--disable-usage-stats",
                   "--node-ip-address", address, "--object-store-memory", str(OBJECTS_BYTES),
                   *(options or ("--address", f"{self.head}:6379", "--num-cpus", "1"))]  # fmt: skip
        return self.hosts.process(number, command, self.variables)

    def serve(self, *command: str) -> str:
        """`serve` from outside; empty where it did not work."""
        whole = [str(self.python.parent / "serve"), *command, "-a", f"http://{self.head}:8265"]
        done = self.hosts.ask(whole, self.variables)
        return done.stdout if done.returncode == 0 else ""

    def until(self, ready: Callable[[], bool], seconds: float = 120) -> None:
        deadline_s = time.monotonic() + seconds
        while not ready():
            assert time.monotonic() < deadline_s, self.serve("status")
            time.sleep(0.5)

    def running(self) -> bool:
        return "RUNNING: 2" in self.serve("status")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory, ray: Path) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("ray")
    variables = {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": "0123456789abcdef" * 2,
        "RAY_health_check_period_ms": "1000",
        "RAY_health_check_timeout_ms": "2000",
        "RAY_health_check_failure_threshold": "2",
        "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": "deploy.ray.proxy:middlewares",
        "ATTENDANT_THREADS": "1",
        "PYTHONPATH": str(ROOT),
        "BENTOML_HOME": str(folder / "home"),
        "BENTOML_DO_NOT_TRACK": "True",
        "OTEL_SDK_DISABLED": "true",
        "PIP_NO_INDEX": "1",
    }
    install = [str(ray), "-m", "service", "install"]
    subprocess.run(install, check=True, cwd=ROOT, env={**os.environ, **variables})
    with hosts(folder) as made:
        cluster = Cluster(made, ray, folder, variables, made.plug(HEAD))
        temporary = str(folder / "tmp")
        cluster.join(HEAD, "--head", "--port", "6379", "--num-cpus", "0",
                     "--temp-dir", temporary, "--dashboard-host", cluster.head)  # fmt: skip
        (folder / "serve.yaml").write_text(APPLICATION)
        cluster.until(lambda: made.ask(["curl", "-s", f"{cluster.head}:8265"], {}).returncode == 0)
        yield cluster


def test_a_host_that_dies_takes_only_its_own_requests_along(cluster: Cluster) -> None:
    killed = cluster.join(FIRST)
    cluster.join(SECOND)
    cluster.until(lambda: cluster.serve("deploy", str(cluster.folder / "serve.yaml")) != "")
    cluster.until(cluster.running)
    cluster.join(SPARE)
    load = cluster.hosts.outside(ROOT / "tests" / "ray_load.py", cluster.head, "24", "6")
    time.sleep(8)
    killed_s = time.time()
    off(killed)
    assert load.stdout
    answers: list[dict[str, Any]] = [json.loads(line) for line in load.stdout]
    assert load.wait(60) == 0
    assert len(answers) == 24 * 6, "all were answered"
    lost = [answer for answer in answers if not answer["right"]]
    assert lost, "nothing was on the host that died"
    assert {answer["door"] for answer in answers} == {"HTTP", "gRPC"}
    # On it, or sent to it before Ray knew that it was gone.
    assert all(answer["came_s"] < killed_s + RECOVERY_S for answer in lost), lost
    assert all(answer["again"] and LOST in answer["said"] for answer in lost), lost
    late = [each for each in answers if each["came_s"] > killed_s + RECOVERY_S]
    assert late
    assert all(each["right"] for each in late)
    cluster.until(cluster.running, RECOVERY_S + 20)
