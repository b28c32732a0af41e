"""a rate, for a while five times as much, the rate again → what a spike leaves behind it."""

from loadtests.lab.plan import Load
from loadtests.lab.scenarios import Asked

PERCENTILE = 0.9
ARGUMENTS = ("rate_per_s",)
FACTOR = 5
PARTS = (("before", 0.4, 1), ("spike", 0.1, FACTOR), ("after", 0.5, 1))
"""Name, share of the duration, times the rate."""


def loads(asked: Asked) -> list[Load]:
    return [
        Load(name=name, duration_s=share * asked.duration_s, rate_per_s=times * asked.rate_per_s)
        for name, share, times in PARTS
    ]
