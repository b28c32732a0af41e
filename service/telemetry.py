"""what happens to requests → Prometheus metrics, one span and one log line each."""

import logging
from asyncio import CancelledError
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from time import monotonic, time
from typing import Literal, get_args

import grpc
from opentelemetry.trace import Span, SpanContext
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
)

from service import tracing
from service.errors import Problem
from service.logs import Fields
from service.schema import Timings

Door = Literal["http", "grpc", "oip", "oip-grpc", "openai", "libretranslate", "huggingface"]
"""How a request came: our own doors, and those of `service/compat`."""
Reason = Literal["queue", "deadline"]
"""The queue is full, or the answer would come after the deadline."""
Stage = Literal["queued", "running"]

disable_created_metrics()  # type: ignore[no-untyped-call]  # a fifth of all series, read by none
REGISTRY = CollectorRegistry()
MODELS: dict[str, str] = {}
"""Task → name and version of the model that it is served with."""
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
ROWS = (1, 2, 4, 8, 16, 32, 64, 128)


def _counter(name: str, text: str, *labels: str) -> Counter:
    return Counter(name, text, ("task", *labels), registry=REGISTRY)


def _gauge(name: str, text: str, *labels: str, mode: Literal["livesum", "livemin", "max"]) -> Gauge:
    """`mode` is how the values of several workers make one."""
    return Gauge(name, text, ("task", *labels), registry=REGISTRY, multiprocess_mode=mode)


def _histogram(name: str, text: str, *labels: str, buckets: Sequence[float]) -> Histogram:
    return Histogram(name, text, ("task", *labels), registry=REGISTRY, buckets=buckets)


_requests = _counter("attendant_requests_total", "Requests by outcome", "door", "code")
_in_flight = _gauge(
    "attendant_requests_in_flight", "Requests not yet answered", "door", mode="livesum"
)
_durations = _histogram(
    "attendant_request_duration_seconds",
    "Time from the request's arrival to its answer",
    "door",
    buckets=SECONDS,
)
_first_tokens = _histogram(
    "attendant_first_token_seconds", "Time from a stream's start to its first text", buckets=SECONDS
)
_stages = _histogram(
    "attendant_stage_duration_seconds", "Time in one stage of a request", "stage", buckets=SECONDS
)
_last = _gauge(
    "attendant_last_answer_timestamp_seconds",
    "When the last answer was given, in Unix time",
    mode="max",
)
_batches = _histogram("attendant_batch_items", "Items in a batch", buckets=ROWS)
_steps = _histogram("attendant_step_rows", "Rows in a decoding step", buckets=ROWS)
_queue = _gauge("attendant_queue_cost", "Cost of the waiting items", mode="livesum")
_rejected = _counter("attendant_rejected_total", "Requests refused at the door", "reason")
_cancelled = _counter(
    "attendant_cancelled_total", "Items dropped because nobody waits for them", "stage"
)
_tokens = _counter("attendant_tokens_total", "Tokens generated")
_ready = _gauge("attendant_model_ready", "1 when every worker serves the task", mode="livemin")


class _Series:
    """All series of one task, made at once: no request makes a new one, whatever it holds."""

    def __init__(self, task: str) -> None:
        codes = [code.name.lower() for code in grpc.StatusCode]
        self.requests = {
            (door, code): _requests.labels(task, door, code)
            for door in get_args(Door)
            for code in codes
        }
        self.in_flight = {door: _in_flight.labels(task, door) for door in get_args(Door)}
        self.durations = {door: _durations.labels(task, door) for door in get_args(Door)}
        self.first_token = _first_tokens.labels(task)
        self.stages = {
            name: _stages.labels(task, name.removesuffix("_ms")) for name in Timings.model_fields
        }
        self.last = _last.labels(task)
        self.batches, self.steps = _batches.labels(task), _steps.labels(task)
        self.queue, self.ready = _queue.labels(task), _ready.labels(task)
        self.rejected = {reason: _rejected.labels(task, reason) for reason in get_args(Reason)}
        self.cancelled = {stage: _cancelled.labels(task, stage) for stage in get_args(Stage)}
        self.tokens = _tokens.labels(task)


_series = cache(_Series)


@dataclass
class _Request:
    """What is known of the request that this context is about."""

    span: Span
    timings: Timings | None = None


_current: ContextVar[_Request | None] = ContextVar("request", default=None)

log = logging.getLogger("attendant")


@contextmanager
def observed(task: str, door: Door, headers: tracing.Headers = ()) -> Iterator[None]:
    """Count and time one request, trace it and write its line; errors pass through.

    `headers` are the request's, or its gRPC metadata: what says which trace it belongs to.
    """
    start_s, series, outer = monotonic(), _series(task), _current.get()
    request = _Request(tracing.request(task, door, headers))
    _current.set(request)
    series.in_flight[door].inc()
    code, problem, fault = "ok", None, None
    try:
        yield
    except Problem as refused:
        code, problem = refused.code.name.lower(), refused
        raise
    except (CancelledError, GeneratorExit):
        code = "cancelled"  # the client has gone, from a stream too, or its deadline has passed
        raise
    except BaseException as error:
        code, fault = "internal", error
        raise
    finally:
        # A stream may be closed from another context than it began in, where no token is valid.
        _current.set(outer)
        took_s = monotonic() - start_s
        series.in_flight[door].dec()
        series.requests[door, code].inc()
        series.durations[door].observe(took_s)
        failed = fault is not None or (problem is not None and problem.status >= 500)
        tracing.end(request.span, code, failed=failed)
        level = logging.ERROR if fault else logging.INFO
        if log.isEnabledFor(level):
            # The detail of a problem may quote the request, so that only its title is logged.
            fields = Fields(task=task, door=door, code=code, ms=round(took_s * 1e3, 3))
            if problem:
                fields["problem"] = problem.title
            if request.timings:
                fields.update(vars(request.timings))
            if trace_id := tracing.trace_id(request.span):
                fields["trace_id"] = trace_id
            log.log(level, "%s", fields, exc_info=fault)


def stages(task: str, timings: Timings) -> None:
    """Where the time of the request that has just been answered went."""
    series = _series(task)
    for stage, value_ms in vars(timings).items():  # as pydantic iterates, but sooner
        series.stages[stage].observe(value_ms / 1e3)
    series.last.set(time())
    if request := _current.get():
        request.timings = timings
        tracing.stages(request.span, timings)


def first_token(task: str, took_s: float) -> None:
    """A stream has text to tell, so long after it began."""
    _series(task).first_token.observe(took_s)


def origin() -> SpanContext | None:
    """What a batch needs to know of the current request to link to it; None if it is not traced."""
    request = _current.get()
    return tracing.context(request.span) if request else None


def batch_span(task: str, origins: Sequence[SpanContext | None]) -> AbstractContextManager[None]:
    """Around the run of a batch: a span of its own with links to the requests of its items."""
    traced = [one for one in origins if one]
    return tracing.batch(task, traced, len(origins)) if traced else nullcontext()


def batch(task: str, items: int) -> None:
    _series(task).batches.observe(items)


def step(task: str, rows: int) -> None:
    """One step of a decoding loop over so many rows."""
    _series(task).steps.observe(rows)


def queue(task: str, cost: int) -> None:
    _series(task).queue.set(cost)


def rejected(task: str, reason: Reason) -> None:
    _series(task).rejected[reason].inc()


def cancelled(task: str, stage: Stage) -> None:
    _series(task).cancelled[stage].inc()


def tokens(task: str, count: int) -> None:
    _series(task).tokens.inc(count)


def ready(task: str, is_ready: bool) -> None:
    _series(task).ready.set(is_ready)
    if not is_ready:
        MODELS.pop(task, None)


def model(task: str, name: str) -> None:
    """The model that a task is served with from now on; `name` holds its version."""
    MODELS[task] = name
