"""log records → lines of text or JSON, in which nothing that a client sent can forge another."""

import json
import logging
import threading
from datetime import UTC, datetime
from typing import Any, Literal, TextIO

Format = Literal["text", "json"]
Level = Literal["debug", "info", "warning", "error"]

CONTROL = {
    code: repr(chr(code))[1:-1]
    for code in (*range(0x20), *range(0x7F, 0xA0), *range(0x2028, 0x202F), *range(0x2066, 0x206A))
}
"""Control characters, separators of lines and changes of direction → how they are shown."""


WRITE_EVERY_S = 0.2
UNUSED = ("_srcfile", "logThreads", "logProcesses", "logMultiprocessing")
"""Switches of `logging` for where in the code, in which thread and process a record was made."""


class Fields(dict[str, Any]):
    """What a line says, by name: `key=value` as text, members as JSON."""

    def __str__(self) -> str:
        return " ".join(f"{name}={value}" for name, value in self.items())


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")


def _shown(text: str) -> str:
    return text if text.isprintable() else text.translate(CONTROL)  # the test is the faster one


class TextFormatter(logging.Formatter):
    """One line; those of a traceback are indented, so that they cannot pass for records."""

    def format(self, record: logging.LogRecord) -> str:
        line = f"{_time(record)} {record.levelname} {_shown(record.getMessage())}"
        if record.exc_info:
            traceback = self.formatException(record.exc_info).split("\n")
            line = "\n  ".join([line, *map(_shown, traceback)])
        return line


class JsonFormatter(logging.Formatter):
    """One object a line: time, level, logger, and a message or the members of `Fields`."""

    def format(self, record: logging.LogRecord) -> str:
        line = {"time": _time(record), "level": record.levelname.lower(), "logger": record.name}
        if isinstance(record.args, Fields):
            line |= record.args
        else:
            line["message"] = record.getMessage()
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line)  # in ASCII: all else is escaped


FORMATTERS: dict[Format, type[logging.Formatter]] = {"text": TextFormatter, "json": JsonFormatter}


class Together(logging.StreamHandler[TextIO]):
    """Lines are written a few times a second, from a thread of its own, and at once with a warning.

    Each write gives the interpreter's lock away. From the event loop, with a model computing beside
    it, that took two fifths of the loop's time.
    """

    def __init__(self) -> None:
        super().__init__()
        self._lines: list[str] = []
        self._writing = threading.Lock()
        self._over = threading.Event()
        threading.Thread(target=self._write_on, name="log", daemon=True).start()

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._lines.append(self.format(record) + self.terminator)
            if record.levelno >= logging.WARNING:
                self.flush()
        except Exception:
            self.handleError(record)

    def flush(self) -> None:
        """Write what there is; called once more at the interpreter's end."""
        with self._writing:
            lines, self._lines = self._lines, []
            if lines:
                self.stream.write("".join(lines))
                # Not by the handler, whose lock the thread that logs holds while it waits for ours.
                self.stream.flush()

    def close(self) -> None:
        self._over.set()
        super().close()

    def _write_on(self) -> None:
        while not self._over.wait(WRITE_EVERY_S):
            self.flush()


def configure(form: Format, level: Level) -> None:
    """Write this process's records in this form to stderr; those of libraries from warning on."""
    handler = Together()
    handler.setFormatter(FORMATTERS[form]())
    logging.basicConfig(handlers=[handler], level=max(logging.WARNING, _number(level)), force=True)
    for name in ("bentoml", "uvicorn.error"):  # these have handlers of their own
        library = logging.getLogger(name)
        library.handlers, library.propagate = [handler], False
    logging.getLogger("attendant").setLevel(_number(level))
    logging.getLogger("opentelemetry.trace").setLevel(logging.ERROR)  # warnings quote headers
    # What no line of ours shows, and takes a third of the time (logging HOWTO, "Optimization").
    for name in UNUSED:
        setattr(logging, name, None)


def _number(level: Level) -> int:
    return logging.getLevelNamesMapping()[level.upper()]
