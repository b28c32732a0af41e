"""a server's processes over time → memory, files, threads and metric series, and what has grown."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from statistics import median

import psutil

from loadtests.serving.attendant import Attendant

MIB = 2**20


@dataclass(frozen=True)
class Size:
    """What a server holds at one moment, over all its processes."""

    at_s: float
    rss_mib: float
    fds: float
    threads: float
    series: float


@dataclass(frozen=True)
class Bound:
    """How much more of something there may be at the end than after the warm-up."""

    unit: str
    most: float


BOUNDS: Mapping[str, Bound] = {
    "rss_mib": Bound("MiB", 50 * 1e6 / MIB),
    "fds": Bound("file descriptors", 4),
    "threads": Bound("threads", 2),
    "series": Bound("metric series", 0),
}
"""A leak of one for each of a thousand requests is far over them; open connections come and go."""
EDGE = 0.2
"""Share of the samples that stand for the beginning, and for the end."""


def size(server: Attendant, metrics: str, at_s: float) -> Size:
    rss, fds, threads = 0, 0, 0
    for process in server.family():
        with suppress(psutil.NoSuchProcess):
            rss += process.memory_info().rss
            fds += process.num_fds()
            threads += process.num_threads()
    series = sum(bool(line) and not line.startswith("#") for line in metrics.splitlines())
    return Size(at_s, rss / MIB, fds, threads, series)


def grown(sizes: Sequence[Size], name: str) -> tuple[float, float]:
    """How much there was at the beginning and at the end of the samples after the warm-up.

    Of what comes and goes with connections the least counts, since a leak raises that too.
    """
    edge = max(1, round(len(sizes) * EDGE))
    values = [float(getattr(each, name)) for each in sizes]
    middle = median if name == "rss_mib" else max if name == "series" else min
    return float(middle(values[:edge])), float(middle(values[-edge:]))
