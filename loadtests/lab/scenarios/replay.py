"""a recorded trace → its requests again, at the moments at which they came."""

from loadtests.lab.plan import Load
from loadtests.lab.scenarios import Asked

PERCENTILE = 0.99
ARGUMENTS = ()


def loads(asked: Asked) -> list[Load]:
    """Raises ValueError without a trace."""
    moments = [moment for moment in asked.moments_s if moment <= asked.duration_s]
    if not moments:
        raise ValueError("replay needs a trace: give it as --payloads TRACE.jsonl")
    return [Load(name="trace", duration_s=moments[-1], moments_s=moments)]
