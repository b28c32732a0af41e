"""Log records → lines of text or JSON, one for each record whatever a client put into it."""

import io
import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from service import logs, telemetry
from service.errors import InvalidInput
from service.logs import FORMATTERS, Together
from service.schema import Timings
from service.settings import Settings

SHOUT = telemetry.Labels("shout", "shout")

Lines = Callable[[], list[str]]
FORGED = "a\r\n2026-01-01 00:00:00 ERROR forged\x1b[31m\x00\u2028\u202e\x85"


@pytest.fixture
def written(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Lines]]:
    """Configures logging as the worker does, and reads what it has written."""
    for name in logs.UNUSED:
        monkeypatch.setattr(logging, name, getattr(logging, name))
    root, ours = logging.getLogger(), logging.getLogger("attendant")
    level = root.level, ours.level

    def configured(form: logs.Format = "text", level: logs.Level = "info") -> Lines:
        root.handlers = []  # pytest's own, which would be closed
        logs.configure(form, level)

        def lines() -> list[str]:
            root.handlers[0].flush()
            return capsys.readouterr().err.split("\n")[:-1]

        return lines

    yield configured
    for handler in [one for one in root.handlers if type(one.formatter) in FORMATTERS.values()]:
        root.removeHandler(handler)
        handler.close()
    root.setLevel(level[0])
    ours.setLevel(level[1])


def ask() -> None:
    with telemetry.observed("shout", "http"):
        telemetry.asks(SHOUT)
        telemetry.stages(SHOUT, Timings(queue_ms=2.5, compute_ms=10))


def refuse() -> None:
    with pytest.raises(InvalidInput), telemetry.observed("shout", "grpc"):
        raise InvalidInput("'my password' is not one of a, b", "my secret field")


def test_a_request_is_one_object_with_its_stage_times(written: Any) -> None:
    lines = written("json")
    ask()
    (line,) = map(json.loads, lines())
    assert line.pop("time").endswith("+00:00")
    assert 0 <= line.pop("ms") < 1_000
    assert line == {
        "level": "info", "logger": "attendant", "task": "shout", "door": "http", "code": "ok",
        "model": "shout",
        "preprocess_ms": 0.0, "queue_ms": 2.5, "batch_wait_ms": 0.0, "encode_ms": 0.0,
        "decode_ms": 0.0, "compute_ms": 10.0, "postprocess_ms": 0.0,
    }  # fmt: skip


def test_a_request_is_one_line_of_text(written: Any) -> None:
    lines = written("text")
    ask()
    (line,) = lines()
    assert " INFO task=shout door=http code=ok ms=" in line
    assert " queue_ms=2.5 " in line
    assert " compute_ms=10.0 " in line


@pytest.mark.parametrize("form", ["text", "json"])
def test_nothing_of_a_refused_request_is_written(written: Any, form: logs.Format) -> None:
    lines = written(form)
    refuse()
    (line,) = lines()
    assert "invalid input" in line
    assert "password" not in line
    assert "secret" not in line


def test_a_wrong_header_of_a_trace_is_not_written(written: Any) -> None:
    lines = written("text")
    traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    for state in ("My Secret=1", ",".join(f"secret{i}=1" for i in range(33)), "s" * 10_000):
        with telemetry.observed("s", "http", [("traceparent", traceparent), ("tracestate", state)]):
            pass
    written_lines = lines()
    assert len(written_lines) == 3
    assert "ecret" not in "".join(written_lines)


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_record_cannot_forge_another(written: Any, form: logs.Format) -> None:
    lines = written(form)
    logging.getLogger("attendant").warning("not served: %s", FORGED)
    (line,) = lines()
    assert line.isprintable()
    assert "forged" in line


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_traceback_cannot_forge_a_record(written: Any, form: logs.Format) -> None:
    lines = written(form)
    with pytest.raises(ValueError, match="forged"), telemetry.observed("shout", "http"):
        raise ValueError(FORGED)
    first, *rest = lines()
    assert all(line.isprintable() for line in (first, *rest))
    assert all(line.startswith("  ") for line in rest)
    if form == "json":
        assert not rest
        assert "ValueError" in json.loads(first)["traceback"]


def test_the_level_silences_requests_but_not_faults(written: Any) -> None:
    lines = written("text", "warning")
    ask()
    refuse()
    assert not lines()
    with pytest.raises(ZeroDivisionError), telemetry.observed("shout", "http"):
        raise ZeroDivisionError
    assert "code=internal" in lines()[0]


def test_libraries_write_in_the_same_form(written: Any) -> None:
    library = logging.getLogger("bentoml")
    library.addHandler(logging.StreamHandler(io.StringIO()))
    lines = written("json")
    library.warning("a word")
    assert json.loads(lines()[-1])["message"] == "a word"


def test_debug_is_for_our_own_records(written: Any) -> None:
    lines = written("text", "debug")
    logging.getLogger("attendant").debug("ours")
    for level in (logging.DEBUG, logging.INFO, logging.WARNING):
        logging.getLogger("hpack").log(level, "theirs")
    assert [line.partition(" ")[2] for line in lines()] == ["DEBUG ours", "WARNING theirs"]


@pytest.mark.parametrize(
    "wrong", [{"log_format": "xml"}, {"log_level": "loud"}, {"otlp_endpoint": "collector:4317"}]
)
def test_a_wrong_setting_is_refused_by_name(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Settings(**wrong)


def test_the_lines_of_the_http_server_stay_out(written: Any) -> None:
    """They have raw paths, one for each request of a scan."""
    lines = written("text", "debug")
    logging.getLogger("uvicorn.access").info("GET /wp-admin 404")
    assert not lines()


def test_lines_are_written_together_and_at_once_with_a_warning(
    written: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "WRITE_EVERY_S", 60)
    written()
    logging.getLogger("attendant").info("first")
    assert not capsys.readouterr().err
    logging.getLogger("attendant").warning("second")
    assert [line.split()[-1] for line in capsys.readouterr().err.splitlines()] == [
        "first",
        "second",
    ]


def test_lines_appear_without_anybody_asking(
    written: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "WRITE_EVERY_S", 0.01)
    written()
    logging.getLogger("attendant").info("alone")
    seen = ""
    for _ in range(500):
        time.sleep(0.01)
        seen += capsys.readouterr().err
        if "alone" in seen:
            return
    pytest.fail("nothing was written")


def test_a_warning_while_earlier_lines_are_written_waits_for_them_only() -> None:
    begun = threading.Event()

    class Slow(io.StringIO):
        def write(self, text: str) -> int:
            begun.set()
            time.sleep(0.2)
            return super().write(text)

    handler, stream = Together(), Slow()
    handler.setStream(stream)
    record = partial(
        logging.LogRecord, "attendant", pathname="", lineno=0, args=None, exc_info=None
    )
    handler.handle(record(level=logging.INFO, msg="one"))
    assert begun.wait(5)
    warning = record(level=logging.WARNING, msg="two")
    thread = threading.Thread(target=handler.handle, args=[warning], daemon=True)
    thread.start()
    thread.join(5)
    assert not thread.is_alive()
    assert stream.getvalue() == "one\ntwo\n"
    handler.close()
