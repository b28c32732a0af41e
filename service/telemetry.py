"""what happens to requests → Prometheus metrics, one span and one log line each."""

import logging
from asyncio import CancelledError
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from time import monotonic, time
from typing import Literal, NamedTuple, get_args

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
Shadow = Literal["ok", "failed", "dropped"]
"""How a candidate fared with a request that it computed for nobody."""


class Labels(NamedTuple):
    """What a series is about."""

    task: str
    model: str
    """Its name without a version, but for a candidate, which is counted beside the version that it
    may replace; empty for requests that name none which there is."""


disable_created_metrics()  # type: ignore[no-untyped-call]  # a fifth of all series, read by none
REGISTRY = CollectorRegistry()
LOADED: dict[Labels, set[str]] = {}
"""The versions of a model that are in memory."""
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
ROWS = (1, 2, 4, 8, 16, 32, 64, 128)


def _counter(name: str, text: str, *labels: str) -> Counter:
    return Counter(name, text, (*Labels._fields, *labels), registry=REGISTRY)


def _gauge(name: str, text: str, *, mode: Literal["livesum", "livemin", "max"]) -> Gauge:
    """`mode` is how the values of several workers make one."""
    return Gauge(name, text, Labels._fields, registry=REGISTRY, multiprocess_mode=mode)


def _histogram(name: str, text: str, *labels: str, buckets: Sequence[float]) -> Histogram:
    return Histogram(name, text, (*Labels._fields, *labels), registry=REGISTRY, buckets=buckets)


_requests = _counter("attendant_requests_total", "Requests by outcome", "door", "code")
_in_flight = Gauge(
    "attendant_requests_in_flight",
    "Requests not yet answered",
    ("task", "door"),  # which model they ask for is in what has not been read yet
    registry=REGISTRY,
    multiprocess_mode="livesum",
)
_durations = _histogram(
    "attendant_request_duration_seconds",
    "Time from the request's arrival to its answer",
    "door",
    buckets=SECONDS,
)
_failed = _counter("attendant_failed_seconds_total", "Time that went into requests that failed")
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
_shadows = _counter("attendant_shadows_total", "Requests computed for nobody", "outcome")
_tokens = _counter("attendant_tokens_total", "Tokens generated")
_ready = _gauge(
    "attendant_model_ready", "1 when every worker serves the model, loaded or not", mode="livemin"
)
_loads = _counter("attendant_model_loads_total", "Models loaded into memory", "outcome")
_unloads = _counter("attendant_model_unloads_total", "Models taken out of memory")
_bytes = _gauge("attendant_model_bytes", "Estimated memory of a loaded model", mode="livesum")


class _Outcomes:
    """How requests for a model ended, and how long they took."""

    def __init__(self, labels: Labels) -> None:
        codes = [code.name.lower() for code in grpc.StatusCode]
        self.requests = {
            (door, code): _requests.labels(*labels, door, code)
            for door in get_args(Door)
            for code in codes
        }
        self.durations = {door: _durations.labels(*labels, door) for door in get_args(Door)}
        self.failed = _failed.labels(*labels)


class _Arrivals:
    """Requests for a task whose model is not known yet, or turns out not to exist."""

    def __init__(self, task: str) -> None:
        self.in_flight = {door: _in_flight.labels(task, door) for door in get_args(Door)}
        _outcomes(Labels(task, ""))


class _Series:
    """All series of one model, made at once: no request makes a new one, whatever it holds."""

    def __init__(self, labels: Labels) -> None:
        _arrivals(labels.task)
        _outcomes(labels)
        self.first_token = _first_tokens.labels(*labels)
        stages = [name.removesuffix("_ms") for name in Timings.model_fields]
        self.stages = {name: _stages.labels(*labels, name) for name in stages}
        self.last = _last.labels(*labels)
        self.batches, self.steps = _batches.labels(*labels), _steps.labels(*labels)
        self.queue, self.ready = _queue.labels(*labels), _ready.labels(*labels)
        self.rejected = {reason: _rejected.labels(*labels, reason) for reason in get_args(Reason)}
        self.cancelled = {stage: _cancelled.labels(*labels, stage) for stage in get_args(Stage)}
        self.shadows = {outcome: _shadows.labels(*labels, outcome) for outcome in get_args(Shadow)}
        self.tokens, self.bytes = _tokens.labels(*labels), _bytes.labels(*labels)
        self.loads = {outcome: _loads.labels(*labels, outcome) for outcome in ("ok", "failed")}
        self.unloads = _unloads.labels(*labels)


_outcomes = cache(_Outcomes)
_arrivals = cache(_Arrivals)
_series = cache(_Series)


@dataclass
class _Request:
    """What is known of the request that this context is about."""

    span: Span
    model: str = ""
    timings: Timings | None = None


_current: ContextVar[_Request | None] = ContextVar("request", default=None)

log = logging.getLogger("attendant")


@contextmanager
def observed(task: str, door: Door, headers: tracing.Headers = ()) -> Iterator[None]:
    """Count and time one request, trace it and write its line; errors pass through.

    `headers` are the request's, or its gRPC metadata: what says which trace it belongs to.
    """
    start_s, in_flight, outer = monotonic(), _arrivals(task).in_flight[door], _current.get()
    request = _Request(tracing.request(task, door, headers))
    _current.set(request)
    in_flight.inc()
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
        in_flight.dec()
        outcomes = _outcomes(Labels(task, request.model))
        outcomes.requests[door, code].inc()
        outcomes.durations[door].observe(took_s)
        if code not in ("ok", "cancelled"):
            outcomes.failed.inc(took_s)
        failed = fault is not None or (problem is not None and problem.status >= 500)
        tracing.end(request.span, code, failed=failed)
        level = logging.ERROR if fault else logging.INFO
        if log.isEnabledFor(level):
            # The detail of a problem may quote the request, so that only its title is logged.
            fields = Fields(task=task, door=door, code=code, ms=round(took_s * 1e3, 3))
            if request.model:
                fields["model"] = request.model
            if problem:
                fields["problem"] = problem.title
            if request.timings:
                fields.update(vars(request.timings))
            if trace_id := tracing.trace_id(request.span):
                fields["trace_id"] = trace_id
            log.log(level, "%s", fields, exc_info=fault)


def asks(labels: Labels) -> None:
    """The current request is for this model."""
    if request := _current.get():
        request.model = labels.model


def stages(labels: Labels, timings: Timings) -> None:
    """Where the time of the request that has just been answered went."""
    series = _series(labels)
    for stage, took_ms in timings.taken().items():
        series.stages[stage].observe(took_ms / 1e3)
    series.last.set(time())
    if request := _current.get():
        request.timings = timings
        tracing.stages(request.span, timings)


def first_token(labels: Labels, took_s: float) -> None:
    """A stream has text to tell, so long after it began."""
    _series(labels).first_token.observe(took_s)


def origin() -> SpanContext | None:
    """What a batch needs to know of the current request to link to it; None if it is not traced."""
    request = _current.get()
    return tracing.context(request.span) if request else None


def batch_span(task: str, origins: Sequence[SpanContext | None]) -> AbstractContextManager[None]:
    """Around the run of a batch: a span of its own with links to the requests of its items."""
    traced = [one for one in origins if one]
    return tracing.batch(task, traced, len(origins)) if traced else nullcontext()


def batch(labels: Labels, items: int) -> None:
    _series(labels).batches.observe(items)


def step(labels: Labels, rows: int) -> None:
    """One step of a decoding loop over so many rows."""
    _series(labels).steps.observe(rows)


def queue(labels: Labels, more: int) -> None:
    """The cost of what waits has grown by so much; two versions of a model have a queue each."""
    _series(labels).queue.inc(more)


def rejected(labels: Labels, reason: Reason) -> None:
    _series(labels).rejected[reason].inc()


def cancelled(labels: Labels, stage: Stage) -> None:
    _series(labels).cancelled[stage].inc()


def shadow(labels: Labels, outcome: Shadow) -> None:
    _series(labels).shadows[outcome].inc()


def tokens(labels: Labels, count: int) -> None:
    _series(labels).tokens.inc(count)


def ready(labels: Labels, is_ready: bool) -> None:
    """Whether a model can be asked, be it in memory or not."""
    _series(labels).ready.set(is_ready)


def loaded(labels: Labels, version: str, size_bytes: int) -> None:
    """A version of a model is in memory from now on."""
    series = _series(labels)
    series.ready.set(1)
    series.loads["ok"].inc()
    series.bytes.inc(size_bytes)
    LOADED.setdefault(labels, set()).add(version)


def not_loaded(labels: Labels) -> None:
    """A model could not be loaded."""
    series = _series(labels)
    series.ready.set(0)
    series.loads["failed"].inc()


def unloaded(labels: Labels, version: str, size_bytes: int) -> None:
    """A version of a model is in memory no more."""
    series = _series(labels)
    series.unloads.inc()
    series.bytes.dec(size_bytes)
    LOADED[labels].discard(version)
