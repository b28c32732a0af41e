"""Callers' traces and what becomes of requests → spans; without an exporter, none and no cost."""

import logging
import os
from collections.abc import Iterator
from concurrent import futures
from typing import Any

import grpc
import pytest
from fake_door import HELLO, Door, with_door
from fake_models import shouting, with_engine
from fake_tasks import HttpEngine, ShoutRequest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import INVALID_SPAN, SpanKind, StatusCode
from starlette.testclient import TestClient

from service import telemetry, tracing
from service.engine import Engine
from service.errors import InvalidInput, Unavailable
from service.gate import Gate
from service.http import TaskDoor, pages
from service.schema import Timings

SHOUT = telemetry.Labels("shout", "shout")

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACEPARENT = f"00-{TRACE}-{PARENT}-01"


class Spans:
    """What was exported so far."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()

    def named(self) -> dict[str, ReadableSpan]:
        assert tracing.flush()
        return {span.name: span for span in self.exporter.get_finished_spans()}


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Iterator[Spans]:
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")  # as BentoML's workers have it
    spans = Spans()
    tracing.use(spans.exporter)
    yield spans
    assert os.environ["OTEL_SDK_DISABLED"] == "true"
    tracing.use(None)


def http_door(engine: Any) -> TaskDoor:
    return TaskDoor(engine, Gate(), pages(engine))


def hexadecimal(number: int, digits: int) -> str:
    return f"{number:0{digits}x}"


def trace_of(span: ReadableSpan) -> str:
    return hexadecimal(span.get_span_context().trace_id, 32)  # type: ignore[union-attr]


def test_a_request_over_http_continues_its_callers_trace(spans: Spans) -> None:
    client = TestClient(http_door(HttpEngine()))
    headers = {"traceparent": TRACEPARENT, "tracestate": "vendor=1"}
    assert client.post("/shout", json={"text": "a"}, headers=headers).status_code == 200
    span = spans.named()["http shout"]
    assert trace_of(span) == TRACE
    assert span.parent is not None
    assert hexadecimal(span.parent.span_id, 16) == PARENT
    assert span.context.trace_state.get("vendor") == "1"
    assert span.kind == SpanKind.SERVER
    assert span.attributes == {
        "attendant.task": "shout", "attendant.door": "http", "attendant.code": "ok",
    }  # fmt: skip


def test_a_request_over_grpc_continues_its_callers_trace(spans: Spans) -> None:
    async def scenario(door: Door) -> None:
        await door.call("Shout", HELLO, metadata=(("traceparent", TRACEPARENT),))
        span = spans.named()["grpc shout"]
        assert trace_of(span) == TRACE
        assert span.parent is not None
        assert hexadecimal(span.parent.span_id, 16) == PARENT

    with_door(scenario)


@pytest.mark.parametrize(
    "traceparent",
    [
        "",
        "00",
        TRACEPARENT.upper(),
        TRACEPARENT + "-00",
        "ff" + TRACEPARENT[2:],
        f"00-{'0' * 32}-{PARENT}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE[1:]}-{PARENT}-01",
        f"00-{TRACE}-{PARENT}-1",
        "00-ü" + TRACEPARENT[4:],
        "x" * 10_000,
    ],
)
@pytest.mark.parametrize("name", ["traceparent", b"traceparent"])
def test_an_invalid_parent_is_ignored(spans: Spans, traceparent: str, name: Any) -> None:
    value = traceparent if isinstance(name, str) else traceparent.encode()
    with telemetry.observed("shout", "http", [(name, value), ("tracestate", "vendor=1")]):
        pass
    span = spans.named()["http shout"]
    assert span.parent is None
    assert trace_of(span) != TRACE
    assert not span.context.trace_state


def test_two_parents_are_none(spans: Spans) -> None:
    with telemetry.observed("shout", "http", [("traceparent", TRACEPARENT)] * 2):
        pass
    assert spans.named()["http shout"].parent is None


def test_a_later_version_of_the_header_is_understood(spans: Spans) -> None:
    with telemetry.observed("shout", "http", [("traceparent", f"cc-{TRACE}-{PARENT}-01-more")]):
        pass
    assert trace_of(spans.named()["http shout"]) == TRACE


def test_what_the_caller_does_not_sample_is_not_recorded(spans: Spans) -> None:
    with telemetry.observed("shout", "http", [("traceparent", f"00-{TRACE}-{PARENT}-00")]):
        assert telemetry.origin() is None
        telemetry.stages(SHOUT, Timings(queue_ms=1))
    assert not spans.named()


def test_the_stages_lie_one_after_the_other_inside_the_request(spans: Spans) -> None:
    timings = Timings(preprocess_ms=1, queue_ms=2, compute_ms=3, postprocess_ms=0.5)
    with telemetry.observed("shout", "http"):
        telemetry.stages(SHOUT, timings)
    named = spans.named()
    request = named["http shout"]
    parts = [named[name] for name in ("preprocess", "queue", "compute", "postprocess")]
    assert all(part.parent == request.get_span_context() for part in parts)
    times = [((part.start_time or 0), (part.end_time or 0)) for part in parts]
    assert [round((end - start) / 1e5) for start, end in times] == [10, 20, 30, 5]
    assert [end for _, end in times[:-1]] == [start for start, _ in times[1:]]
    assert times[-1][1] <= (request.end_time or 0)


@pytest.mark.parametrize(
    ("error", "status"),
    [(InvalidInput("no"), StatusCode.UNSET), (Unavailable("no"), StatusCode.ERROR)],
)
def test_only_what_the_service_is_to_blame_for_is_an_error(
    spans: Spans, error: Exception, status: StatusCode
) -> None:
    with pytest.raises(type(error)), telemetry.observed("shout", "http"):
        raise error
    span = spans.named()["http shout"]
    assert span.status.status_code == status
    assert ("error.type" in (span.attributes or {})) == (status == StatusCode.ERROR)


def test_a_batch_links_to_its_requests_and_is_in_none_of_their_traces(spans: Spans) -> None:
    origins = []
    for trace in "ab":
        parent = f"00-{trace * 32}-{PARENT}-01"
        with telemetry.observed("shout", "http", [("traceparent", parent)]):
            origins += [telemetry.origin()] * 2  # two items of one request
    with telemetry.batch_span("shout", [*origins, None]):
        pass
    batch = spans.named()["batch shout"]
    assert [hexadecimal(link.context.trace_id, 32) for link in batch.links] == ["a" * 32, "b" * 32]
    assert trace_of(batch) not in ("a" * 32, "b" * 32)
    assert batch.attributes == {"attendant.task": "shout", "attendant.items": 5}


def test_a_batch_that_fails_says_so(spans: Spans) -> None:
    with telemetry.observed("shout", "http"):
        origin = telemetry.origin()
    with pytest.raises(MemoryError), telemetry.batch_span("shout", [origin]):
        raise MemoryError
    batch = spans.named()["batch shout"]
    assert batch.status.status_code == StatusCode.ERROR
    assert (batch.attributes or {})["error.type"] == "MemoryError"


def test_the_engine_traces_the_stages_and_the_batch_of_a_request(
    spans: Spans, tmp_path: Any
) -> None:
    async def scenario(engine: Engine) -> None:
        await engine.load(engine.tasks["shout"], tmp_path)
        with telemetry.observed("shout", "http"):
            await engine.answer("shout", ShoutRequest(text="a"))
        named = spans.named()
        assert {"preprocess", "queue", "compute", "postprocess"} < set(named)
        (link,) = named["batch shout"].links
        assert link.context == named["http shout"].get_span_context()

    with_engine(scenario, shouting())


def test_nothing_is_traced_unless_it_is_asked_for() -> None:
    with telemetry.observed("shout", "http"):
        assert telemetry.origin() is None
        with telemetry.batch_span("shout", [None]):
            pass
    assert tracing.request("shout", "http", ()) is INVALID_SPAN


def test_the_callers_trace_is_logged_even_where_nothing_is_traced(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.INFO, "attendant"):
        for headers in ([("traceparent", TRACEPARENT)], [("traceparent", "00-forged\n")]):
            with telemetry.observed("shout", "http", headers):
                pass
    first, second = (record.getMessage() for record in caplog.records)
    assert f"trace_id={TRACE}" in first
    assert "trace_id" not in second


def test_spans_reach_a_collector_over_otlp() -> None:
    """Names of the service and its spans, as a collector would take them."""
    from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as pb
    from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as pb_grpc

    taken: list[Any] = []

    class Collector(pb_grpc.TraceServiceServicer):  # type: ignore[misc]
        def Export(self, request: Any, _: Any) -> Any:
            taken.append(request)
            return pb.ExportTraceServiceResponse()

    server = grpc.server(futures.ThreadPoolExecutor(1))
    pb_grpc.add_TraceServiceServicer_to_server(Collector(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        tracing.export_to(f"http://127.0.0.1:{port}")
        with telemetry.observed("shout", "http", [("traceparent", TRACEPARENT)]):
            pass
        assert tracing.flush()
    finally:
        tracing.use(None)
        server.stop(None)
    (resource,) = taken[0].resource_spans
    names = {pair.key: pair.value.string_value for pair in resource.resource.attributes}
    assert names["service.name"] == "attendant"
    assert [span.name for span in resource.scope_spans[0].spans] == ["http shout"]
    assert resource.scope_spans[0].spans[0].trace_id.hex() == TRACE
