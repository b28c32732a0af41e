"""N callers who wait for each answer → throughput at that many; its latencies hide every stall."""

from loadtests.lab.plan import Load
from loadtests.lab.scenarios import Asked

PERCENTILE = 0.99
ARGUMENTS = ("users",)


def loads(asked: Asked) -> list[Load]:
    return [Load(name=f"{asked.users} users", duration_s=asked.duration_s, users=asked.users)]
