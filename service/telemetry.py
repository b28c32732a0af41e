"""what happens to requests → Prometheus metrics and one log line each."""

import logging
from asyncio import CancelledError
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from service.errors import Problem
from service.schema import Timings

REGISTRY = CollectorRegistry()
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)

_requests = Counter(
    "attendant_requests_total", "Requests by outcome", ["task", "door", "code"], registry=REGISTRY
)
_durations = Histogram(
    "attendant_request_duration_seconds",
    "Time from the request's arrival to its answer",
    ["task", "door"],
    buckets=SECONDS,
    registry=REGISTRY,
)
_stages = Histogram(
    "attendant_stage_duration_seconds",
    "Time in one stage of a request",
    ["task", "stage"],
    buckets=SECONDS,
    registry=REGISTRY,
)
_batches = Histogram(
    "attendant_batch_items",
    "Items in a batch",
    ["task"],
    buckets=(1, 2, 4, 8, 16, 32, 64, 128),
    registry=REGISTRY,
)
_queue = Gauge("attendant_queue_cost", "Cost of the waiting items", ["task"], registry=REGISTRY)
_rejected = Counter(
    "attendant_rejected_total",
    "Requests refused at the door",
    ["task", "reason"],
    registry=REGISTRY,
)
_cancelled = Counter(
    "attendant_cancelled_total",
    "Items dropped because nobody waits for them",
    ["task", "stage"],
    registry=REGISTRY,
)
_tokens = Counter("attendant_tokens_total", "Tokens generated", ["task"], registry=REGISTRY)
_ready = Gauge("attendant_model_ready", "1 when the task is served", ["task"], registry=REGISTRY)

log = logging.getLogger("attendant")


@contextmanager
def observed(task: str, door: str) -> Iterator[None]:
    """Count and time one request, and write its line; errors pass through."""
    start_s = monotonic()
    code, detail, level = "ok", "", logging.INFO
    try:
        yield
    except Problem as problem:
        code, detail = problem.code.name.lower(), str(problem)
        raise
    except CancelledError:
        code = "cancelled"  # the client has gone, or its deadline has passed
        raise
    except BaseException as error:
        code, detail, level = "internal", repr(error), logging.ERROR
        raise
    finally:
        took_s = monotonic() - start_s
        _requests.labels(task, door, code).inc()
        _durations.labels(task, door).observe(took_s)
        took = f"{took_s * 1e3:.1f}"
        log.log(level, "task=%s door=%s code=%s ms=%s %s", task, door, code, took, detail)


def stages(task: str, timings: Timings) -> None:
    for stage, value_ms in timings:
        _stages.labels(task, stage.removesuffix("_ms")).observe(value_ms / 1e3)


def batch(task: str, items: int) -> None:
    _batches.labels(task).observe(items)


def queue(task: str, cost: int) -> None:
    _queue.labels(task).set(cost)


def rejected(task: str, reason: Literal["queue", "deadline"]) -> None:
    """The queue is full, or the answer would come after the deadline."""
    _rejected.labels(task, reason).inc()


def cancelled(task: str, stage: Literal["queued", "running"]) -> None:
    _cancelled.labels(task, stage).inc()


def tokens(task: str, count: int) -> None:
    _tokens.labels(task).inc(count)


def ready(task: str, is_ready: bool) -> None:
    _ready.labels(task).set(is_ready)
