"""one caller → the next request when the last is answered: the latency of an idle server."""

from loadtests.lab.plan import Load
from loadtests.lab.scenarios import Asked

PERCENTILE = 0.9
ARGUMENTS = ()


def loads(asked: Asked) -> list[Load]:
    return [Load(name="stream", duration_s=asked.duration_s, users=1)]
