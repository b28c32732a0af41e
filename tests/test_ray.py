"""Ray Serve on several hosts: what dies takes only its own along, what waits brings replicas."""

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from ray_hosts import Hosts, hosts, off, why_not

from deploy.ray.proxy import LOST

pytestmark = [
    pytest.mark.ray,
    pytest.mark.skipif(why_not() is not None, reason=why_not() or ""),
]
ROOT = Path(__file__).parent.parent
HEAD, FIRST, SECOND, SPARE, OTHERS = 1, 2, 3, 4, (5, 6)
OBJECTS_BYTES = 80 << 20
RECOVERY_S = 10
APPLICATION = """
http_options: {{host: 0.0.0.0, port: 8000}}
grpc_options: {{port: 9000, grpc_servicer_functions: [deploy.ray.rpc.add_to_server]}}
proxy_location: HeadOnly
applications:
  - name: attendant
    route_prefix: /
    import_path: deploy.ray.app:attendant
    args: {{tasks: [translation]}}
    deployments:
      - name: Attendant
        {replicas}
        max_ongoing_requests: 256
        health_check_period_s: 1
        health_check_timeout_s: 3
        ray_actor_options: {{num_cpus: 1}}
"""
TWO = "num_replicas: 2"
AS_NEEDED = """autoscaling_config:
          min_replicas: 1
          max_replicas: 2
          target_ongoing_requests: 2
          look_back_period_s: 2
          upscale_delay_s: 1
          downscale_delay_s: 4"""


@dataclass
class Cluster:
    """A head, and hosts that may join and have room for a replica each."""

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

    def deploy(self, replicas: str) -> None:
        path = self.folder / "serve.yaml"
        path.write_text(APPLICATION.format(replicas=replicas))
        self.until(lambda: self.serve("deploy", str(path)) != "")

    def replicas(self) -> int:
        """Those that answer."""
        status = yaml.safe_load(self.serve("status")) or {}
        application = status.get("applications", {}).get("attendant", {})
        states = application.get("deployments", {}).get("Attendant", {}).get("replica_states", {})
        return int(states.get("RUNNING", 0))

    def running(self, number: int) -> bool:
        return self.replicas() == number


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
        "RAY_SERVE_HANDLE_AUTOSCALING_METRIC_PUSH_INTERVAL_S": "1",
        "RAY_SERVE_REPLICA_AUTOSCALING_METRIC_PUSH_INTERVAL_S": "1",
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
        cluster.until(lambda: made.ask(["curl", "-s", f"{cluster.head}:8265"], {}).returncode == 0)
        yield cluster


def test_a_host_that_dies_takes_only_its_own_requests_along(cluster: Cluster) -> None:
    killed = cluster.join(FIRST)
    cluster.join(SECOND)
    cluster.deploy(TWO)
    cluster.until(lambda: cluster.running(2))
    cluster.join(SPARE)
    load = cluster.hosts.outside(ROOT / "tests" / "ray_load.py", cluster.head, "24", "3")
    time.sleep(8)
    killed_s = time.time()
    off(killed)
    assert load.stdout
    answers: list[dict[str, Any]] = [json.loads(line) for line in load.stdout]
    assert load.wait(60) == 0
    assert len(answers) == 24 * 3, "all were answered"
    lost = [answer for answer in answers if not answer["right"]]
    assert lost, "nothing was on the host that died"
    assert {answer["door"] for answer in answers} == {"HTTP", "gRPC"}
    # On it, or sent to it before Ray knew that it was gone.
    assert all(answer["came_s"] < killed_s + RECOVERY_S for answer in lost), lost
    assert all(answer["again"] and LOST in answer["said"] for answer in lost), lost
    late = [each for each in answers if each["came_s"] > killed_s + RECOVERY_S]
    assert late
    assert all(each["right"] for each in late)
    cluster.until(lambda: cluster.running(2), RECOVERY_S + 20)


def test_requests_that_wait_bring_a_replica_which_goes_with_them(cluster: Cluster) -> None:
    for number in OTHERS:
        cluster.join(number)
    cluster.deploy(AS_NEEDED)
    cluster.until(lambda: cluster.running(1))
    load = cluster.hosts.outside(ROOT / "tests" / "ray_load.py", cluster.head, "15", "4")
    cluster.until(lambda: cluster.running(2))
    assert load.stdout
    answers: list[dict[str, Any]] = [json.loads(line) for line in load.stdout]
    assert load.wait(60) == 0
    assert len(answers) == 15 * 4
    # Until the second is there, one may have more than it takes, and says so.
    assert all(answer["right"] or answer["again"] for answer in answers), answers
    cluster.until(lambda: cluster.running(1))
