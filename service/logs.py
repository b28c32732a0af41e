"""log records → lines of text or JSON, in which nothing that a client sent can forge another."""

import json
import logging
from datetime import UTC, datetime
from typing import Any, Literal

Format = Literal["text", "json"]
Level = Literal["debug", "info", "warning", "error"]

CONTROL = {
    code: repr(chr(code))[1:-1]
    for code in (*range(0x20), *range(0x7F, 0xA0), *range(0x2028, 0x202F), *range(0x2066, 0x206A))
}
"""Control characters, separators of lines and changes of direction → how they are shown."""


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


def configure(form: Format, level: Level) -> None:
    """Write this process's records in this form to stderr; those of libraries from warning on."""
    handler = logging.StreamHandler()
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
