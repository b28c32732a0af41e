"""metrics of this process, or of all workers → the text that Prometheus reads."""

import os
from collections.abc import Iterable
from pathlib import Path

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    ProcessCollector,
    generate_latest,
    values,
)
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

from service.telemetry import LOADED, REGISTRY, Labels

MEDIA_TYPE = CONTENT_TYPE_LATEST
FOLDER = "PROMETHEUS_MULTIPROC_DIR"


class _Models(Collector):
    """What is in memory now. A version that was replaced leaves no series behind."""

    def collect(self) -> Iterable[Metric]:
        family = GaugeMetricFamily(
            "attendant_model_info", "What is in memory", labels=(*Labels._fields, "version")
        )
        for labels, versions in sorted(LOADED.items()):
            for version in sorted(versions):
                family.add_metric((*labels, version), 1)
        yield family


class _Processes(Collector):
    """Memory, processor time and open files of each worker that lives, by `pid`."""

    def __init__(self, pids: Iterable[int]) -> None:
        self.pids = pids

    def collect(self) -> Iterable[Metric]:
        families: dict[str, Metric] = {}
        for pid in self.pids:
            for family in ProcessCollector(pid=lambda: pid, registry=None).collect():  # noqa: B023
                kept = families.setdefault(family.name, family)
                samples = [one._replace(labels={"pid": str(pid)}) for one in family.samples]
                kept.samples = samples if kept is family else [*kept.samples, *samples]
        yield from families.values()


class _Exposition:
    """What a scrape reads: this process's registry, or the folder in which workers count."""

    folder: Path | None = None


def share(folder: Path) -> None:
    """Count in files of this folder, and show the sums of all processes that do the same.

    To be called before the first request. Raises RuntimeError where the process was not started
    with PROMETHEUS_MULTIPROC_DIR set, as BentoML starts its workers: then it counts for itself.
    """
    if values.ValueClass is values.MutexValue:
        raise RuntimeError(f"start this process with {FOLDER} set")
    folder.mkdir(parents=True, exist_ok=True)
    os.environ[FOLDER] = str(folder)  # BentoML's own folder is emptied by the next server
    _Exposition.folder = folder


def _living(folder: Path) -> list[int]:
    """The processes that count in a folder; of those that have died, gauges are forgotten."""
    pids = {int(path.stem.rpartition("_")[2]) for path in folder.glob("*.db")}
    for pid in sorted(pids):
        try:
            os.kill(pid, 0)
        except OSError:
            mark_process_dead(pid, str(folder))  # type: ignore[no-untyped-call]
            pids.discard(pid)
    return sorted(pids)


def text() -> bytes:
    """One scrape."""
    return generate_latest(registry())


def registry() -> CollectorRegistry:
    """What a scrape reads: the counts of this process, or of all workers together."""
    folder = _Exposition.folder
    if folder is None:
        return REGISTRY
    shared = CollectorRegistry()
    shared.register(_Models())
    shared.register(_Processes(_living(folder)))
    MultiProcessCollector(shared, str(folder))  # type: ignore[no-untyped-call]
    return shared


REGISTRY.register(_Models())
ProcessCollector(registry=REGISTRY)
