"""deploy/compose: a real Prometheus scrapes the service and answers the dashboard's queries."""

import asyncio
import re
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
import typer
import yaml
from test_service_life import OWN, free_port, running
from typer.testing import CliRunner

from loadtests.dashboard import ALERTS, COMPOSE, QUERIES, configuration, drawn, filled, main
from loadtests.page.browser import NAMES
from loadtests.serving.verdict import read
from service import manifest as manifests
from service import store

ROOT = Path(__file__).parent.parent
SERVICES = yaml.safe_load((COMPOSE / "compose.yaml").read_text())["services"]
RULES = {
    rule["alert"]: rule["expr"] for rule in yaml.safe_load(ALERTS.read_text())["groups"][0]["rules"]
}
MISSED = "ModelNotServed"
"""The one alert of a service that is well, but for Whisper, which is not in its store."""
COMPARED = re.compile(r"(.*) (?:>|==) ([^>=]*)", re.DOTALL)
needs_prometheus = pytest.mark.skipif(
    not (shutil.which("prometheus") and shutil.which("promtool")),
    reason="prometheus is not installed",
)


@asynccontextmanager
async def prometheus(folder: Path, target: str) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a Prometheus that has scraped the target."""
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        "prometheus",
        f"--config.file={configuration(folder, target)}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}/api/v1") as client:
            while not await _scraped(client):
                assert process.returncode is None
                await asyncio.sleep(0.2)
            yield client
    finally:
        process.terminate()
        await process.wait()


async def _scraped(client: httpx.AsyncClient) -> bool:
    with suppress(httpx.TransportError):
        found = await client.get("/query", params={"query": "up == 1"})
        return found.status_code == 200 and bool(found.json()["data"]["result"])
    return False


async def asked(client: httpx.AsyncClient, query: str) -> list[Any]:
    """The series that a query answers with."""
    reply = (await client.get("/query", params={"query": query})).json()
    assert reply["status"] == "success", f"{query}: {reply}"
    found: list[Any] = reply["data"]["result"]
    return found


async def used(http: httpx.AsyncClient) -> None:
    """Something to see in every panel."""
    translate = {"text": "I read.", "source": "en", "target": "de", "beam_size": 1}
    for _ in range(4):
        for headers in ({}, {"Accept": "text/event-stream"}):
            answer = await http.post("/translation", json=translate, headers=headers)
            assert answer.status_code == 200
        await asyncio.sleep(0.6)


@needs_prometheus
def test_promtool_finds_no_fault(tmp_path: Path) -> None:
    path = str(configuration(tmp_path, "127.0.0.1:1"))
    subprocess.run(["promtool", "check", "config", path], check=True, capture_output=True)
    subprocess.run(["promtool", "check", "rules", str(ALERTS)], check=True, capture_output=True)


@needs_prometheus
@pytest.mark.alone
def test_every_query_is_answered_from_real_metrics(tmp_path: Path) -> None:
    for name, folder in store.shipped().items():
        if name != "automatic-speech-recognition":
            store.install(folder)
    admin = free_port()

    async def scenario() -> None:
        async with (
            asyncio.timeout(90),
            running(*OWN, admin_port=str(admin)) as service,
            prometheus(tmp_path, f"127.0.0.1:{admin}") as client,
        ):
            await used(service.client)
            empty = []
            for name, query in QUERIES.items():
                if not await asked(client, filled(query)):
                    empty.append(name)
            for name, rule in RULES.items():
                about = [each["metric"].get("model") for each in await asked(client, rule)]
                assert about == (["automatic-speech-recognition"] if name == MISSED else []), name
                compared = COMPARED.fullmatch(rule)
                if compared and not await asked(client, compared.group(1)):
                    empty.append(name)
            assert empty == []

    asyncio.run(scenario())


@needs_prometheus
def test_an_alert_is_raised_when_the_service_is_gone(tmp_path: Path) -> None:
    store.install(manifests.SHIPPED / "image-classification")
    admin = free_port()

    async def scenario() -> None:
        async with (
            asyncio.timeout(90),
            running(*OWN, admin_port=str(admin)) as service,
            prometheus(tmp_path, f"127.0.0.1:{admin}") as client,
        ):
            service.process.kill()
            while not await asked(client, RULES["Gone"]):
                await asyncio.sleep(0.2)

    asyncio.run(scenario())


@needs_prometheus
@pytest.mark.skipif(not any(map(shutil.which, NAMES)), reason="no browser is installed")
def test_a_real_browser_draws_every_query(tmp_path: Path) -> None:
    app = typer.Typer()
    app.command()(main)
    record = tmp_path / "record.json"
    options = ["--seconds", "6", "--pictures", str(tmp_path), "--record", str(record)]
    done = CliRunner().invoke(app, options)
    assert done.exit_code == 0, done.output
    rows = read(record).commands["dashboard"].rows
    assert [row.tried for row in rows] == list(QUERIES)
    assert len(list(tmp_path.glob("*.png"))) == 4


def test_a_graph_without_a_curve_is_missed_and_a_fault_is_told() -> None:
    wrapper = '<div id="graph_wrapper0" class="graph_wrapper">{}</div>'
    curve, fault = '<path class="path" d="M0,1L2,3">', '<div class="error alert alert-danger">{}'
    page = [curve + fault.format(""), "", curve + fault.format("no such function")]
    rows = list(drawn("abc", "".join(wrapper.format(each) for each in page)))
    assert [row.met for row in rows] == ["yes", "no", "no"]
    assert rows[2].saw == "1 curves; no such function"


def test_prometheus_asks_where_the_service_shows_its_metrics() -> None:
    (job,) = yaml.safe_load((COMPOSE / "prometheus.yaml").read_text())["scrape_configs"]
    (found,) = job["dns_sd_configs"]
    environment = SERVICES["attendant"]["environment"]
    assert found["names"] == ["attendant"]
    assert found["port"] == environment["ATTENDANT_ADMIN_PORT"]
    published = [str(each).rpartition(":")[2] for each in SERVICES["attendant"]["ports"]]
    assert published == ["3000", "50051"]


def test_what_is_mounted_is_there() -> None:
    for service in SERVICES.values():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert not source.startswith(".") or (COMPOSE / source).is_file(), source


def test_the_dashboard_has_what_one_looks_for() -> None:
    shown = " ".join(QUERIES.values())
    for metric in (
        "attendant_requests_total",
        "attendant_request_duration_seconds",
        "attendant_stage_duration_seconds",
        "attendant_batch_items",
        "attendant_step_rows",
        "attendant_queue_cost",
        "attendant_rejected_total",
        "attendant_tokens_total",
        "process_resident_memory_bytes",
    ):
        assert metric in shown
