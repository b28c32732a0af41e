"""a steady rate for long → the figures of its last part beside those of its first."""

from loadtests.lab.plan import Load
from loadtests.lab.scenarios import Asked

PERCENTILE = 0.99
ARGUMENTS = ("rate_per_s",)
PARTS = 10


def loads(asked: Asked) -> list[Load]:
    part_s = asked.duration_s / PARTS
    return [
        Load(name=f"part {part}", duration_s=part_s, rate_per_s=asked.rate_per_s)
        for part in range(1, PARTS + 1)
    ]
