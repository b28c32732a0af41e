"""rates that one machine holds → pods, cores, memory and money for the rates that are wanted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

HOURS = 730
"""Of a month."""
Row = tuple[str, ...]
HEAD = ("task", "one pod", "wanted", "pods", "cores", "memory", "a month", "a million requests")


@dataclass(frozen=True)
class Prices:
    """What a pod is and costs; none of it is measured."""

    pod_cores: int = 2
    pod_gib: float = 2.0
    core_hour: float = 0.04
    """Of a core with its memory."""
    used: float = 0.7
    """Share of the highest rate that a pod gets, so that a peak finds room."""
    spare: int = 1
    """Pods more than the rate needs, for one that dies or is replaced."""


def rates(report: Mapping[str, Any]) -> dict[str, float]:
    """Highest rate of each task over REST, on the machine of a load report."""
    found = {
        one["name"]: one["best_per_s"]
        for result in report["results"]
        for one in result.get("found", ())
    }
    return {
        name.removesuffix(" REST"): rate for name, rate in found.items() if name.endswith(" REST")
    }


def sized(name: str, rate_per_s: float, wanted_per_s: float, prices: Prices) -> Row:
    """One line of the table, for pods of which each holds `rate_per_s`."""
    pods = ceil(wanted_per_s / (rate_per_s * prices.used)) + prices.spare
    cores = pods * prices.pod_cores
    month = cores * prices.core_hour * HOURS
    millions = wanted_per_s * HOURS * 3600 / 1e6
    return (
        name,
        f"{rate_per_s:.3g}/s",
        f"{wanted_per_s:,.0f}/s",
        f"{pods:,}",
        f"{cores:,}",
        f"{pods * prices.pod_gib:,.0f} GiB",
        f"${month:,.0f}",
        f"${month / millions:.2f}",
    )


def table(report: Mapping[str, Any], wanted: Sequence[float], prices: Prices) -> str:
    """Markdown; a pod has as many cores as the report's machine, or a share of its rate."""
    share = prices.pod_cores / report["machine"]["cores"]
    rows = [HEAD, ("---", *["---:"] * (len(HEAD) - 1))]
    rows += [
        sized(name, rate * share, per_s, prices)
        for name, rate in rates(report).items()
        for per_s in wanted
    ]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)
