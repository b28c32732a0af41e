"""a rate → requests at random moments, whoever is still waiting: the many users of a service."""

from loadtests.lab.plan import Load
from loadtests.lab.scenarios import Asked

PERCENTILE = 0.99
ARGUMENTS = ("rate_per_s",)


def loads(asked: Asked) -> list[Load]:
    return [Load(name="load", duration_s=asked.duration_s, rate_per_s=asked.rate_per_s)]
