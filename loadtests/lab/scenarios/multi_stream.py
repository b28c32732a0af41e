"""one caller, several requests at once → the next ones when all are answered: a camera rig."""

from loadtests.lab.plan import Load
from loadtests.lab.scenarios import Asked

PERCENTILE = 0.99
ARGUMENTS = ("samples",)


def loads(asked: Asked) -> list[Load]:
    return [Load(name="streams", duration_s=asked.duration_s, users=1, samples=asked.samples)]
