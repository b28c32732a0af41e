"""deploy/kubernetes renders, fits the schemas, and promises only what the running service keeps."""

import asyncio
import re
import runpy
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml
from custom_resources import SCHEMAS
from test_service_life import OWN, ROOT, free_port, running

from service import store
from service.settings import OVERTIME_S, Settings
from service.tasks import tasks

FOLDER = ROOT / "deploy" / "kubernetes"
OVERLAYS = sorted(path.name for path in (FOLDER / "overlays").iterdir())
VERSIONS = ("1.30", "1.37")
"""The first that can sleep in preStop, and the newest with a schema."""
QUEUE = re.compile(r'sum\((?P<metric>\w+)\{task="(?P<task>[^"]+)"\}\)')
COSTS = {task.name: task.max_batch_cost for task in tasks()}
Manifest = dict[str, Any]

pytestmark = pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")


@cache
def rendered(overlay: str) -> list[Manifest]:
    command = ["kubectl", "kustomize", str(FOLDER / "overlays" / overlay)]
    done = subprocess.run(command, capture_output=True, check=True, timeout=60)
    return list(yaml.safe_load_all(done.stdout))


def of(overlay: str, kind: str) -> list[Manifest]:
    return [one for one in rendered(overlay) if one["kind"] == kind]


def pods(overlay: str) -> Iterator[Manifest]:
    """The specs of all pods, also of the one that KServe puts together of two kinds."""
    for deployment in of(overlay, "Deployment"):
        yield deployment["spec"]["template"]["spec"]
    for service in of(overlay, "InferenceService"):
        predictor = dict(service["spec"]["predictor"])
        runtime = predictor.pop("model")["runtime"]
        del predictor["minReplicas"], predictor["maxReplicas"], predictor["autoScaling"]
        for one in of(overlay, "ServingRuntime"):
            assert one["metadata"]["name"] == runtime
            spec = one["spec"]
            yield {**predictor, "containers": spec["containers"], "volumes": spec["volumes"]}


def containers(overlay: str) -> Iterator[Manifest]:
    for pod in pods(overlay):
        yield from [*pod["containers"], *pod.get("initContainers", ())]


def environment(container: Manifest) -> dict[str, str]:
    return {one["name"]: one.get("value", "") for one in container.get("env", ())}


def waited_for(overlay: str) -> list[tuple[str, str, int]]:
    """What the autoscalers look at: metric, task, and how much of it one pod may have."""
    found = []
    for scaler in of(overlay, "HorizontalPodAutoscaler"):
        for one in (metric["pods"] for metric in scaler["spec"]["metrics"]):
            of_task = one["metric"]["selector"]["matchLabels"]["task"]
            found.append((one["metric"]["name"], of_task, int(one["target"]["averageValue"])))
    queries = [
        (trigger["metadata"]["query"], trigger["metadata"]["threshold"])
        for scaler in of(overlay, "ScaledObject")
        for trigger in scaler["spec"]["triggers"]
    ]
    for service in of(overlay, "InferenceService"):
        for one in service["spec"]["predictor"]["autoScaling"]["metrics"]:
            external = one["external"]
            queries.append((external["metric"]["query"], external["target"]["averageValue"]))
    for query, most in queries:
        asked = QUEUE.fullmatch(query)
        assert asked is not None, query
        found.append((asked["metric"], asked["task"], int(most)))
    return found


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_object_fits_its_schema(overlay: str) -> None:
    assert rendered(overlay)
    for one in rendered(overlay):
        if one["kind"] in SCHEMAS:
            jsonschema.validate(one, SCHEMAS[one["kind"]])
            continue
        for version in VERSIONS:
            kubernetes_validate.validate(one, version, strict=True)
    for pod in pods(overlay):
        whole = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "attendant"}, "spec": pod}
        kubernetes_validate.validate(whole, VERSIONS[-1], strict=True)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_a_pod_is_given_longer_than_its_service_takes_to_end(overlay: str) -> None:
    for pod in pods(overlay):
        served = pod["containers"][0]
        told = environment(served)
        leaving_s = float(told["ATTENDANT_LAME_DUCK_S"]) + float(told["ATTENDANT_DRAIN_S"])
        pause_s = served["lifecycle"]["preStop"]["sleep"]["seconds"]
        assert pod["terminationGracePeriodSeconds"] > pause_s + leaving_s + OVERTIME_S + 1
        probe = served["readinessProbe"]
        unready_s = probe["periodSeconds"] * probe["failureThreshold"]
        assert unready_s < float(told["ATTENDANT_LAME_DUCK_S"])


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_containers_may_do_nothing_but_serve(overlay: str) -> None:
    for pod in pods(overlay):
        assert pod["automountServiceAccountToken"] is pod["enableServiceLinks"] is False
        for one in [*pod["containers"], *pod.get("initContainers", ())]:
            may = {**pod.get("securityContext", {}), **one["securityContext"]}
            assert may["runAsNonRoot"]
            assert may["runAsUser"] == 1034
            assert may["readOnlyRootFilesystem"]
            assert not may["allowPrivilegeEscalation"]
            assert may["capabilities"] == {"drop": ["ALL"]}
            assert may["seccompProfile"] == {"type": "RuntimeDefault"}
            assert one["resources"]["limits"]["memory"] == one["resources"]["requests"]["memory"]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_variables_are_settings_and_ports_are_theirs(overlay: str) -> None:
    default = Settings()
    for pod in pods(overlay):
        served = pod["containers"][0]
        told = environment(served)
        names = {name.removeprefix("ATTENDANT_").lower() for name in told}
        assert names <= set(Settings.model_fields)
        admin = int(told["ATTENDANT_ADMIN_PORT"]) if "ATTENDANT_ADMIN_PORT" in told else None
        ports = {port["containerPort"] for port in served["ports"]}
        assert ports <= {default.http_port, default.grpc_port, admin}
        named = {port["name"]: port["containerPort"] for port in served["ports"]}
        for probe in (served[f"{kind}Probe"] for kind in ("startup", "liveness", "readiness")):
            at = probe.get("httpGet", probe.get("grpc"))["port"]
            assert named.get(at, at) == (default.grpc_port if "grpc" in probe else 3000)
        if "ATTENDANT_MODELS" in told:
            assert told["ATTENDANT_MODELS"] in COSTS


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_names_labels_and_images_belong_together(overlay: str) -> None:
    deployments = {one["metadata"]["name"]: one for one in of(overlay, "Deployment")}
    labels = {n: d["spec"]["template"]["metadata"]["labels"] for n, d in deployments.items()}
    for one in of(overlay, "InferenceService"):  # KServe hands its labels on
        labels[one["metadata"]["name"]] = one["metadata"]["labels"]
    selecting = [
        *(one["spec"]["selector"] for one in of(overlay, "Service")),
        *(d["spec"]["selector"]["matchLabels"] for d in deployments.values()),
        *(one["spec"]["selector"]["matchLabels"] for one in of(overlay, "PodDisruptionBudget")),
        *(one["spec"]["podSelector"]["matchLabels"] for one in of(overlay, "NetworkPolicy")),
    ]
    assert of(overlay, "PodDisruptionBudget")
    assert of(overlay, "NetworkPolicy")
    for selector in selecting:  # each is for the pods of one Deployment
        assert sum(selector.items() <= one.items() for one in labels.values()) == 1
    scalers = [*of(overlay, "HorizontalPodAutoscaler"), *of(overlay, "ScaledObject")]
    targets = sorted(one["spec"]["scaleTargetRef"]["name"] for one in scalers)
    assert targets == sorted(deployments)
    assert not any("replicas" in one["spec"] for one in deployments.values())
    services = {one["metadata"]["name"] for one in of(overlay, "Service")}
    for ingress in of(overlay, "Ingress"):
        paths = ingress["spec"]["rules"][0]["http"]["paths"]
        assert {path["backend"]["service"]["name"] for path in paths} <= services
        asked = {(p["path"].split("/")[-1], p["backend"]["service"]["name"]) for p in paths}
        assert asked == {(task, f"attendant-{task}") for task in COSTS}
    tag = "gpu" if overlay == "gpu" else "cpu"
    assert {one["image"] for one in containers(overlay)} == {f"attendant:{tag}"}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_a_task_is_scaled_by_full_batches_that_wait(overlay: str) -> None:
    assert {(task, most) for _, task, most in waited_for(overlay)} == set(COSTS.items())


def test_probes_ports_and_metrics_are_those_of_the_running_service(tiny_translation: Path) -> None:
    store.install(tiny_translation)
    probes = [
        one[f"{kind}Probe"]
        for overlay in OVERLAYS
        for one in containers(overlay)
        for kind in ("startup", "liveness", "readiness")
        if f"{kind}Probe" in one
    ]
    paths = {probe["httpGet"]["path"] for probe in probes if "httpGet" in probe}
    rule = yaml.safe_load((FOLDER / "prometheus-adapter.yaml").read_text())["rules"][0]
    metrics = {metric for overlay in OVERLAYS for metric, _, _ in waited_for(overlay)}
    assert rule["seriesQuery"].partition("{")[0] in metrics

    async def scenario() -> None:
        admin = free_port()
        async with running(*OWN, admin_port=str(admin)) as service:
            for path in paths:
                assert (await service.client.get(path)).status_code == 200, path
            assert any("grpc" in probe for probe in probes)
            assert await service.readiness() == (200, True)
            text = (await service.client.get(f"http://127.0.0.1:{admin}/metrics")).text
            for metric in metrics:
                assert f'{metric}{{model="translation",task="translation"}}' in text

    asyncio.run(scenario())


def test_the_parts_of_each_task_are_what_would_be_written_now() -> None:
    script = runpy.run_path(str(FOLDER / "tasks.py"))
    for path, text in script["written"]():
        assert path.read_text(encoding="utf-8") == text, f"{path}: run deploy/kubernetes/tasks.py"
