"""a running server → what it says of itself, and over time how busy it is, by /status and /metrics.

A server that has neither is measured all the same; what it does not tell is left out.
"""

import json
from collections.abc import Iterable, Mapping
from threading import Event, Thread
from time import perf_counter
from typing import Literal
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from loadtests.results import BatchRows, Server, ServerSample

TIMEOUT_S = 5.0
HISTOGRAMS: Mapping[Literal["batch", "step"], str] = {
    "batch": "attendant_batch_items",
    "step": "attendant_step_rows",
}


class Unreachable(Exception):
    """Nobody answers at an address."""


def get(url: str, path: str) -> str | None:
    """The body, or None where the server has no such page. Raises Unreachable."""
    try:
        with urlopen(url.rstrip("/") + path, timeout=TIMEOUT_S) as got:
            return str(got.read().decode("utf-8", errors="replace"))
    except HTTPError as error:
        # A server that is not ready yet answers 503 with its /status.
        return error.read().decode(errors="replace") if path == "/status" else None
    except (URLError, OSError, ValueError) as error:
        raise Unreachable(f"{url} does not answer: {error}") from error


def introduced(url: str, addresses: dict[str, str]) -> Server:
    """What the server says of itself. Raises Unreachable."""
    server = Server(addresses=addresses)
    try:
        told = json.loads(get(url, "/status") or "{}")
        server.status = {str(task): str(state) for task, state in told.get("tasks", {}).items()}
    except (ValueError, AttributeError):
        server.status = {}
    for sample in scraped(url):
        if sample.name == "attendant_model_info":
            labels = sample.labels
            server.models[labels["model"]] = f"{labels['model']}:{labels['version']}"
    return server


def scraped(url: str) -> list[Sample]:
    """All samples of /metrics; none where there is no such page, or it is in another form."""
    text = get(url, "/metrics")
    try:
        families = list(text_string_to_metric_families(text or ""))
    except ValueError:
        return []
    return [sample for family in families for sample in family.samples]


def summed(samples: Iterable[Sample], name: str, *labels: str) -> dict[tuple[str, ...], float]:
    """Values of one metric by these labels, added up over all others."""
    sums: dict[tuple[str, ...], float] = {}
    for sample in samples:
        if sample.name == name:
            key = tuple(sample.labels.get(label, "") for label in labels)
            sums[key] = sums.get(key, 0.0) + sample.value
    return sums


def by_task(samples: Iterable[Sample], name: str) -> dict[str, float]:
    return {task: value for (task,), value in summed(samples, name, "task").items()}


def means(before: list[Sample], after: list[Sample], name: str) -> dict[str, float]:
    """Task → mean of what a histogram saw between two scrapes."""
    sums = [by_task(each, f"{name}_sum") for each in (before, after)]
    counts = [by_task(each, f"{name}_count") for each in (before, after)]
    found = {}
    for task, count in counts[1].items():
        more = count - counts[0].get(task, 0.0)
        if more > 0:
            found[task] = (sums[1][task] - sums[0].get(task, 0.0)) / more
    return found


def sampled(before: list[Sample], after: list[Sample], at_s: float, took_s: float) -> ServerSample:
    cpu = [summed(each, "process_cpu_seconds_total").get(()) for each in (before, after)]
    used = cpu[1] - cpu[0] if cpu[0] is not None and cpu[1] is not None else None
    return ServerSample(
        at_s=at_s,
        cpu_cores=None if used is None else max(used, 0.0) / took_s,
        rss_bytes=summed(after, "process_resident_memory_bytes").get(()),
        queue_cost=by_task(after, "attendant_queue_cost"),
        in_flight=by_task(after, "attendant_requests_in_flight"),
        batch_rows=means(before, after, HISTOGRAMS["batch"]),
        step_rows=means(before, after, HISTOGRAMS["step"]),
    )


def batch_rows(before: list[Sample], after: list[Sample]) -> list[BatchRows]:
    """How large the batches between two scrapes were."""
    found = []
    for kind, name in HISTOGRAMS.items():
        more = {part: delta(before, after, f"{name}_{part}") for part in ("sum", "count", "bucket")}
        for task in sorted({task for task, _ in more["count"]}):
            count = round(more["count"][task, ""])
            if count <= 0:
                continue
            bounds = sorted(
                ((bound, value) for (of, bound), value in more["bucket"].items() if of == task),
                key=lambda each: float(each[0]),
            )
            up_to, below = {}, 0.0
            for bound, value in bounds:
                up_to[bound], below = round(value - below), value
            rows = round(more["sum"][task, ""])
            found.append(BatchRows(task=task, kind=kind, count=count, rows=rows, up_to=up_to))
    return found


def delta(before: list[Sample], after: list[Sample], name: str) -> dict[tuple[str, ...], float]:
    old = summed(before, name, "task", "le")
    return {key: now - old.get(key, 0.0) for key, now in summed(after, name, "task", "le").items()}


class Watch:
    """Scrapes a server every so often, in a thread, while it is under load."""

    def __init__(self, url: str, every_s: float = 1.0) -> None:
        self._url, self._every_s = url, every_s
        self._over = Event()
        self._thread = Thread(target=self._work, name="watch", daemon=True)
        self.samples: list[ServerSample] = []
        self.batches: list[BatchRows] = []

    def __enter__(self) -> "Watch":
        self._first = self._last = self._scrape()
        self._began_s = self._last_s = perf_counter()
        if self._first:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        if self._first:
            self._thread.join()
            self.batches = batch_rows(self._first, self._scrape() or self._last)

    def _scrape(self) -> list[Sample]:
        try:
            return scraped(self._url)
        except Unreachable:
            return []

    def _work(self) -> None:
        while not self._over.wait(self._every_s):
            now, now_s = self._scrape(), perf_counter()
            if now:
                at_s, took_s = now_s - self._began_s, now_s - self._last_s
                self.samples.append(sampled(self._last, now, at_s, took_s))
                self._last, self._last_s = now, now_s
