"""examples, a folder of one's own files, or a recorded trace → requests of each task."""

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from service.tasks import Task

KINDS: Mapping[str, tuple[str, ...]] = {
    "image": (".jpg", ".jpeg", ".png", ".webp"),
    "audio": (".wav", ".flac", ".mp3", ".ogg"),
    "text": (".txt",),
}
"""Field of a request → files that fill it. Of a text file every line is a request."""
OTHER_FIELDS = "request.json"
"""In a folder, the fields that its files do not fill; else those of the task's example."""


class NoPayload(Exception):
    """There is nothing to send to a task."""


class TraceLine(BaseModel):
    """One line of a trace, which is JSONL: when a request came, and what it asked."""

    model_config = ConfigDict(extra="forbid")

    at_s: float
    """Since the first request."""
    task: str
    request: dict[str, Any]
    """Fields as in the REST door's JSON; those that hold bytes are base64."""


@dataclass(frozen=True)
class Payloads:
    """Numbered requests of each task; of a trace the numbers are its lines, with their moments."""

    described: str
    requests: Mapping[str, Sequence[tuple[int, BaseModel]]]
    moments_s: tuple[float, ...] = ()
    known: bool = False
    """They are the examples, whose answers hold a known text."""


def payloads(source: str, tasks: Sequence[Task]) -> Payloads:
    """Source is `examples`, a folder or a `.jsonl` file. Raises NoPayload."""
    if source == "examples":
        examples = {task.name: [(0, task.example())] for task in tasks}
        return Payloads("examples", examples, known=True)
    path = Path(source)
    if path.is_dir():
        found = {task.name: list(enumerate(of_folder(path, task))) for task in tasks}
        counts = ", ".join(f"{len(each)} for {name}" for name, each in found.items())
        return Payloads(f"{path.name}: {counts}", found)
    if path.is_file():
        return of_trace(path, tasks)
    raise NoPayload(f"{source} is neither a folder nor a trace")


def bytes_fields(task: Task) -> set[str]:
    return {name for name, field in task.request.model_fields.items() if field.annotation is bytes}


def of_folder(folder: Path, task: Task) -> Iterator[BaseModel]:
    """From `folder/{task}` if there is one, else from the folder itself."""
    own = folder / task.name
    place = own if own.is_dir() else folder
    names = [name for name in KINDS if name in task.request.model_fields]
    if not names:
        raise NoPayload(f"{task.name} has none of the fields {', '.join(KINDS)}")
    name = names[0]
    given = place / OTHER_FIELDS
    others = (
        json.loads(given.read_text(encoding="utf-8"))
        if given.exists()
        else task.example().model_dump(exclude_unset=True)
    )
    files = sorted(each for each in place.iterdir() if each.suffix.lower() in KINDS[name])
    if not files:
        raise NoPayload(f"{place} has no file for {task.name}: {', '.join(KINDS[name])}")
    for file in files:
        if name == "text":
            lines = file.read_text(encoding="utf-8").splitlines()
            values: list[str | bytes] = [line for line in lines if line.strip()]
        else:
            values = [file.read_bytes()]
        for value in values:
            try:
                yield task.request.model_validate({**others, name: value})
            except ValidationError as error:
                raise NoPayload(f"{file}: {error}") from error


def of_trace(path: Path, tasks: Sequence[Task]) -> Payloads:
    """Lines of other tasks than these are left out; raises NoPayload where none is left."""
    known = {task.name: task for task in tasks}
    requests: dict[str, list[tuple[int, BaseModel]]] = {name: [] for name in known}
    moments: list[float] = []
    for number, text in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            line = TraceLine.model_validate_json(text)
            if line.task not in known:
                continue
            request = request_of(known[line.task], line.request)
        except ValueError as error:
            raise NoPayload(f"{path}, line {number}: {error}") from error
        requests[line.task].append((len(moments), request))
        moments.append(line.at_s)
    if not moments:
        raise NoPayload(f"{path} has no request for {', '.join(known)}")
    if moments != sorted(moments):
        raise NoPayload(f"{path}: the lines are not in the order of their times")
    described = f"{path.name}: {len(moments)} requests in {moments[-1]:.1f} s"
    kept = {name: each for name, each in requests.items() if each}
    return Payloads(described, kept, tuple(moments))


def request_of(task: Task, fields: Mapping[str, Any]) -> BaseModel:
    files = bytes_fields(task)
    values = {
        name: base64.b64decode(value, validate=True) if name in files else value
        for name, value in fields.items()
    }
    return task.request.model_validate(values)


def line_of(task: Task, request: BaseModel, at_s: float) -> str:
    """One line of a trace."""
    files = bytes_fields(task)
    fields = {
        name: base64.b64encode(value).decode() if name in files else value
        for name, value in request.model_dump(exclude_unset=True).items()
    }
    return TraceLine(at_s=round(at_s, 6), task=task.name, request=fields).model_dump_json()
