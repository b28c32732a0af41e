"""tasks → the text of attendant.proto: a method per task, one that lists models, their messages.

A task that generates tokens has a second method, which streams its answer.

A field number is given once: fields keep the numbers they have in the committed file, new ones
follow the highest, and the numbers of fields that are gone stay reserved.
"""

from collections.abc import Iterable, Iterator, Mapping
from inspect import cleandoc
from itertools import count
from textwrap import indent, wrap
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from google.protobuf.descriptor_pb2 import DescriptorProto, FileDescriptorProto
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from service.listing import ListModelsRequest, ListModelsResponse
from service.live.events import LiveAudio
from service.schema import Partial
from service.tasks import Task

PACKAGE = "attendant.v1"
SERVICE = "Attendant"
STREAM = "Stream"
"""What the name of a task's method ends in whose answer comes as a stream."""
LIST = "ListModels"
INT32_MAX = 2**31 - 1
LIVE = "Live"
"""What it ends in where the request comes as one, too."""
SCALARS = {str: "string", bytes: "bytes", bool: "bool", int: "int32", float: "double"}
HEAD = f"""\
// Attendant over gRPC. Written by `python -m service.pb` from service/tasks/; edit those instead.
// Fields of a request that this file does not know are refused, as the REST door refuses them.
syntax = "proto3";

package {PACKAGE};
"""

Numbers = Mapping[str, Mapping[str, int]]
"""Message (dotted if nested) → field → number."""


def numbers(file: FileDescriptorProto) -> dict[str, dict[str, int]]:
    """The field numbers that a file gives, reserved ones among them."""

    def of(message: DescriptorProto, prefix: str) -> Iterator[tuple[str, dict[str, int]]]:
        given = {field.name: field.number for field in message.field}
        gone = zip(message.reserved_name, message.reserved_range, strict=True)
        yield prefix + message.name, given | {name: taken.start for name, taken in gone}
        for nested in message.nested_type:
            yield from of(nested, f"{prefix}{message.name}.")

    return dict(entry for message in file.message_type for entry in of(message, ""))


def kind(annotation: Any) -> tuple[str, type]:
    """A field's label and element type; fails on what a message cannot hold."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return kind(arguments[0])
    if origin is Literal:
        return kind(type(arguments[0]))
    if origin in (list, tuple):
        label, element = kind(arguments[0])
        if label != "repeated":
            return "repeated", element
    if origin in (Union, UnionType):
        kinds = [kind(argument) for argument in arguments if argument is not type(None)]
        if len({element for _, element in kinds}) == 1:
            labels = {label for label, _ in kinds}
            # One value or a list of them travels as the list.
            return ("repeated" if "repeated" in labels else "optional"), kinds[0][1]
    if annotation in SCALARS:
        return "", annotation
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "", annotation
    raise TypeError(f"a message cannot hold {annotation}")


def models_in(model: type[BaseModel]) -> dict[type[BaseModel], None]:
    """The models that the fields of `model` hold, at any depth, in order of appearance."""
    found: dict[type[BaseModel], None] = {}
    for field in model.model_fields.values():
        _, element = kind(field.annotation)
        if issubclass(element, BaseModel):
            found |= {element: None} | models_in(element)
    return found


def comment(text: str | None) -> str:
    lines = wrap(" ".join(cleandoc(text or "").split()), 90)
    return "".join(f"// {line}\n" for line in lines)


def _field(name: str, field: FieldInfo, number: int, *, request: bool) -> str:
    label, element = kind(field.annotation)
    # Without presence a request could not be told apart from one that says 0 or "".
    if request and not label and element in SCALARS:
        label = "optional"
    note = field.description or ""
    if request:
        note += " Required." if field.is_required() else f" Default: {field.default!r}."
    type_name = SCALARS.get(element, element.__name__)
    if element is int and any(getattr(bound, "le", 0) > INT32_MAX for bound in field.metadata):
        type_name = "int64"
    return comment(note) + f"{label} {type_name} {name} = {number};\n".lstrip()


def message(
    path: str,
    model: type[BaseModel],
    nested: Iterable[type[BaseModel]] = (),
    *,
    known: Numbers,
    request: bool = False,
) -> str:
    """The text of one message with the messages nested in it; `path` is dotted if it is nested."""
    given = known.get(path, {})
    free = count(max(given.values(), default=0) + 1)
    body = [
        message(f"{path}.{inner.__name__}", inner, known=known, request=request) for inner in nested
    ]
    body += [
        _field(name, field, given.get(name) or next(free), request=request)
        for name, field in model.model_fields.items()
    ]
    body += [
        f'reserved {number};\nreserved "{name}";\n'
        for name, number in given.items()
        if name not in model.model_fields
    ]
    title = path.rpartition(".")[2]
    return comment(model.__doc__) + f"message {title} {{\n{indent(''.join(body), '  ')}}}\n"


def _event(rpc: str) -> str:
    text = comment("What a stream gives: texts as they come, and the whole answer at last.")
    members = f"Partial partial = 1;\n{rpc}Response answer = 2;\n"
    body = f"oneof event {{\n{indent(members, '  ')}}}\n"
    return f"{text}message {rpc}Event {{\n{indent(body, '  ')}}}\n"


def proto(tasks: Iterable[Task], known: Numbers) -> str:
    """The whole file. A model of a task's own file is nested, one that tasks share is not.

    What is shared is part of requests or of responses, and not of both.
    """
    methods, messages = [], []
    shared: dict[type[BaseModel], bool] = {}
    for task in tasks:
        method = f"rpc {task.rpc}({task.rpc}Request) returns ({task.rpc}Response);\n"
        methods.append(comment(task.summary) + method)
        for suffix, model in (("Request", task.request), ("Response", task.response)):
            inner = models_in(model)
            own = [held for held in inner if held.__module__ == model.__module__]
            path, request = f"{task.rpc}{suffix}", suffix == "Request"
            shared |= {held: request for held in inner if held not in own}
            messages.append(message(path, model, own, known=known, request=request))
        if task.generation:
            name = f"{task.rpc}{STREAM}"
            method = f"rpc {name}({task.rpc}Request) returns (stream {task.rpc}Event);\n"
            methods.append(comment(f"{task.rpc}, with its text as it comes.") + method)
            messages.append(_event(task.rpc))
            shared |= {Partial: False}
        if task.live:
            name = f"{task.rpc}{LIVE}"
            event = task.live.__name__
            method = f"rpc {name}(stream LiveAudio) returns (stream {event});\n"
            methods.append(comment(f"{task.rpc} while it is spoken.") + method)
            shared |= {LiveAudio: False, task.live: False}
    methods.append(
        comment("All models that may be asked for.")
        + f"rpc {LIST}({LIST}Request) returns ({LIST}Response);\n"
    )
    inner = models_in(ListModelsResponse)
    messages.append(message(f"{LIST}Request", ListModelsRequest, known=known, request=True))
    messages.append(message(f"{LIST}Response", ListModelsResponse, inner, known=known))
    messages += [
        message(model.__name__, model, known=known, request=request)
        for model, request in shared.items()
    ]
    service = f"service {SERVICE} {{\n{indent(''.join(methods), '  ')}}}\n"
    return "\n".join([HEAD, service, *messages])
