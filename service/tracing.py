"""requests and batches → OpenTelemetry spans, where they are asked for; trace ids of callers."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from time import time_ns

from opentelemetry.context import Context
from opentelemetry.propagators.textmap import Getter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.trace import (
    INVALID_SPAN,
    Link,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    Tracer,
    format_trace_id,
    get_current_span,
    set_span_in_context,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from service.schema import Timings

Headers = Iterable[tuple[str | bytes, str | bytes]]
"""As ASGI and gRPC give them: names in lower case."""

PROPAGATOR = TraceContextTextMapPropagator()


class _Made:
    """What makes the spans of this process, if any are made."""

    provider: TracerProvider | None = None
    tracer: Tracer | None = None


class _Fields(Getter[Headers]):
    """Reads headers. A name that occurs twice is none: there is no telling which one is meant."""

    def get(self, carrier: Headers, key: str) -> list[str] | None:
        found = [value for name, value in carrier if name in (key, key.encode())]
        text = [v.decode("latin-1") if isinstance(v, bytes) else v for v in found]
        return None if not text or (key == "traceparent" and len(text) > 1) else text

    def keys(self, carrier: Headers) -> list[str]:
        return [name if isinstance(name, str) else name.decode("latin-1") for name, _ in carrier]


_fields = _Fields()


def provider() -> TracerProvider:
    """Ours alone: `OTEL_SDK_DISABLED` is for the spans that BentoML would make of each request."""
    disabled = os.environ.pop("OTEL_SDK_DISABLED", None)
    try:
        return TracerProvider(resource=Resource.create({"service.name": "attendant"}))
    finally:
        if disabled is not None:
            os.environ["OTEL_SDK_DISABLED"] = disabled


def export_to(endpoint: str) -> None:
    """Send spans to an OTLP collector over gRPC, in the background; `https://` is encrypted."""
    # Takes a while to import, and most services send no spans.
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter

    use(OTLPSpanExporter(endpoint=endpoint))


def use(exporter: SpanExporter | None) -> None:
    """Make spans for this exporter from now on, for None no more; those before are sent."""
    if _Made.provider is not None:
        _Made.provider.shutdown()
    _Made.provider = _Made.tracer = None
    if exporter is not None:
        _Made.provider = provider()
        _Made.provider.add_span_processor(BatchSpanProcessor(exporter))
        _Made.tracer = _Made.provider.get_tracer("attendant")


def flush() -> bool:
    """Send what has ended so far; False if it could not be sent."""
    return _Made.provider is not None and _Made.provider.force_flush()


def request(task: str, door: str, headers: Headers) -> Span:
    """The span of a request, in its caller's trace if it names a valid one (W3C Trace Context)."""
    parent = None
    for name, _ in headers:
        if name in ("traceparent", b"traceparent"):
            parent = PROPAGATOR.extract(headers, Context(), _fields)
            break
    if _Made.tracer is None:
        return get_current_span(parent) if parent else INVALID_SPAN
    return _Made.tracer.start_span(
        f"{door} {task}",
        parent or Context(),
        SpanKind.SERVER,
        {"attendant.task": task, "attendant.door": door},
    )


def trace_id(span: Span) -> str:
    """32 hexadecimal digits, or nothing where there is no trace."""
    context = span.get_span_context()
    return format_trace_id(context.trace_id) if context.is_valid else ""


def context(span: Span) -> SpanContext | None:
    """What others need to link to a span, if it is kept."""
    return span.get_span_context() if span.is_recording() else None


def stages(span: Span, timings: Timings) -> None:
    """The stages of a request that end now, one after the other, as children of its span."""
    if _Made.tracer is None or not span.is_recording():
        return
    parent, taken = set_span_in_context(span, Context()), timings.taken()
    at_ns = time_ns() - round(sum(taken.values()) * 1e6)
    for name, took_ms in taken.items():
        child = _Made.tracer.start_span(name, parent, start_time=at_ns)
        at_ns += round(took_ms * 1e6)
        child.end(at_ns)


def end(span: Span, code: str, *, failed: bool) -> None:
    """End a request's span with its outcome; `failed` says that the service is to blame."""
    if not span.is_recording():
        return
    span.set_attribute("attendant.code", code)
    if failed:
        span.set_status(Status(StatusCode.ERROR))
        span.set_attribute("error.type", code)
    span.end()


@contextmanager
def batch(task: str, origins: list[SpanContext], items: int) -> Iterator[None]:
    """A span in a trace of its own: a batch belongs to all requests in it and to none of them."""
    if _Made.tracer is None:
        yield
        return
    links = [*{one.span_id: Link(one) for one in origins}.values()]
    span = _Made.tracer.start_span(f"batch {task}", Context(), links=links)
    span.set_attributes({"attendant.task": task, "attendant.items": items})
    try:
        yield
    except BaseException as error:
        span.set_status(Status(StatusCode.ERROR))
        span.set_attribute("error.type", type(error).__name__)
        raise
    finally:
        span.end()
