"""a rate, reached in steps → latency at each of them: where the knee is."""

from loadtests.lab.plan import Load
from loadtests.lab.scenarios import Asked

PERCENTILE = 0.9
ARGUMENTS = ("rate_per_s",)
STEPS = 8


def loads(asked: Asked) -> list[Load]:
    rates = (asked.rate_per_s * step / STEPS for step in range(1, STEPS + 1))
    return [
        Load(name=f"{rate:.4g}/s", duration_s=asked.duration_s / STEPS, rate_per_s=rate)
        for rate in rates
    ]
