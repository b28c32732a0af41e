"""`python -m loadtests.dashboard`: the dashboard's queries, drawn by Prometheus in a real browser.

Every task of a running service is asked for a while, a real Prometheus scrapes it as deploy/compose
says, and Chromium opens Prometheus's own page with a graph for each query of Grafana's dashboard.
"""

import json
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated
from urllib.parse import quote, urlencode

import httpx
import typer
import yaml  # type: ignore[import-untyped]

from loadtests.page.browser import opened
from loadtests.scenarios import scenarios
from loadtests.serving.attendant import Attendant, attendant
from loadtests.serving.processes import free_port, running
from loadtests.serving.verdict import Row, conclude, judged
from service.tasks import tasks

ROOT = Path(__file__).parents[1]
COMPOSE, ALERTS = ROOT / "deploy" / "compose", ROOT / "docs" / "alerts.yaml"
DASHBOARD = json.loads((COMPOSE / "grafana" / "dashboard.json").read_text())
QUERIES: Mapping[str, str] = {
    f"{panel['title']} {target['refId']}": target["expr"]
    for panel in DASHBOARD["panels"]
    for target in panel["targets"]
}
WINDOW, RANGE = "20s", "2m"
GRAPHS, WIDTH_PX, GRAPH_PX = 4, 1_200, 900
"""Of a page: past ten of them Debian's Prometheus mixes up their numbers."""
GRAPH = re.compile(r'<div id="graph_wrapper\d+"')
CURVE = re.compile(r'<path class="path" d="M[^"]*[LC,]')
FAULT = re.compile(r'<div class="error alert alert-danger"[^>]*>([^<]+)')


def filled(query: str) -> str:
    """A query as Grafana sends it, of all tasks."""
    return query.replace("$__rate_interval", WINDOW).replace("$task", ".*")


def configuration(folder: Path, target: str) -> Path:
    """The one of deploy/compose, with what stands for other containers replaced."""
    content = yaml.safe_load((COMPOSE / "prometheus.yaml").read_text())
    content["global"] = {"scrape_interval": "500ms", "evaluation_interval": "500ms"}
    content["rule_files"] = [str(ALERTS)]
    (job,) = content["scrape_configs"]
    del job["dns_sd_configs"]
    job["static_configs"] = [{"targets": [target]}]
    path = folder / "prometheus.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def used(server: Attendant, admin: str, seconds: float) -> None:
    """Ask for the example of each task that is served, and for a stream, again and again."""
    states = httpx.get(f"http://{admin}/status").json()["tasks"]
    with httpx.Client(base_url=server.url, timeout=60) as client:
        examples = [each for each in scenarios(tasks()) if states[each.task] == "ready"]
        end_s = time.monotonic() + seconds
        while time.monotonic() < end_s:
            for one in examples:
                told = {"Content-Type": one.content_type}
                client.post(one.path, content=one.body, headers=told).raise_for_status()
            asked = {"text": "I read.", "source": "en", "target": "de", "beam_size": 1}
            streamed = {"Accept": "text/event-stream"}
            client.post("/translation", json=asked, headers=streamed).raise_for_status()


def drawn(names: Sequence[str], page: str) -> Iterator[Row]:
    """What a browser has made of Prometheus's page, which has a graph for each of these."""
    for name, graph in zip(names, GRAPH.split(page)[1:], strict=True):
        curves, faults = len(CURVE.findall(graph)), FAULT.findall(graph)
        saw = "; ".join([f"{curves} curves", *faults])
        yield judged(name, saw, "at least one", met=bool(curves) and not faults)


def looked_at(address: str, folder: Path, pictures: Path) -> Iterator[Row]:
    """Open the graphs of a Prometheus, some at a time, and keep a picture of each page."""
    pictures.mkdir(parents=True, exist_ok=True)
    for first in range(0, len(QUERIES), GRAPHS):
        names = list(QUERIES)[first : first + GRAPHS]
        parameters = [
            (f"g{place}.{option}", value)
            for place, name in enumerate(names)
            for option, value in (
                ("expr", filled(QUERIES[name])), ("tab", "0"), ("range_input", RANGE)
            )
        ]  # fmt: skip
        url = f"{address}/classic/graph?{urlencode(parameters, quote_via=quote)}"
        size = {"width_px": WIDTH_PX, "height_px": GRAPH_PX * len(names)}
        yield from drawn(names, opened(url, folder, "--dump-dom", **size))
        picture = pictures / f"{first // GRAPHS + 1}.png"
        opened(url, folder, f"--screenshot={picture.absolute()}", **size)


def main(
    seconds: Annotated[float, typer.Option(min=5, help="Of requests before it looks.")] = 60.0,
    pictures: Annotated[Path, typer.Option(help="Folder of PNGs.")] = Path("build/dashboard"),
    record: Annotated[Path | None, typer.Option(help="Keep the table in this file.")] = None,
) -> None:
    """Draw every query; exits 1 where one has no curve. Needs prometheus and chromium."""
    admin, port = f"127.0.0.1:{free_port()}", free_port()
    quiet = {"ATTENDANT_LOG_LEVEL": "warning", "ATTENDANT_ADMIN_PORT": admin.partition(":")[2]}
    with TemporaryDirectory(prefix="attendant-") as name, attendant(None, quiet) as server:
        folder = Path(name)
        command = ["prometheus", f"--config.file={configuration(folder, admin)}"]
        command += [f"--storage.tsdb.path={folder / 'data'}"]
        command += [f"--web.listen-address=127.0.0.1:{port}"]
        log = folder / "prometheus.txt"
        with running(command, port=port, ready="/-/ready", log=log, variables={}) as found:
            used(server, admin, seconds)
            rows = list(looked_at(found.url, folder, pictures))
    conclude("dashboard", rows, {"seconds": seconds}, record=record)


if __name__ == "__main__":
    typer.run(main)
