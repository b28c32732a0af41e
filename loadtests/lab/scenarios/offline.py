"""a heap of work, all due at once → as many under way as there are users: the most throughput."""

from loadtests.lab.plan import Load
from loadtests.lab.scenarios import Asked

PERCENTILE = 0.9
ARGUMENTS = ("samples", "users")


def loads(asked: Asked) -> list[Load]:
    heap = Load(name="heap", duration_s=asked.duration_s, users=asked.users, backlog=asked.samples)
    return [heap]
