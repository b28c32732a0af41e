"""protobuf message ↔ pydantic model, field by field under the same names, for all tasks alike."""

from typing import Any, TypeVar

from google.protobuf.message import Message
from google.protobuf.unknown_fields import UnknownFieldSet
from pydantic import BaseModel

from service.errors import InvalidInput
from service.schema import Partial

M = TypeVar("M", bound=Message)


def to_values(message: Message) -> dict[str, Any]:
    """The fields that are present; an absent one is left to the model's default.

    Raises InvalidInput on a field that the schema lacks: dropping it would answer another question.
    """
    unknown = UnknownFieldSet(message)
    if len(unknown):
        name, number = message.DESCRIPTOR.name, unknown[0].field_number
        raise InvalidInput(f"{name} has no field {number}, or none of this type")
    values = {}
    for field, value in message.ListFields():
        if field.message_type is None:
            values[field.name] = list(value) if field.is_repeated else value
        elif field.is_repeated:
            values[field.name] = [to_values(element) for element in value]
        else:
            values[field.name] = to_values(value)
    return values


def to_event(event: BaseModel, message: type[M]) -> M:
    """What a stream gives as its message: a partial text, or the answer."""
    name = "partial" if isinstance(event, Partial) else "answer"
    return message(**{name: to_message(event, type(getattr(message(), name)))})


def to_message(model: BaseModel, message: type[M]) -> M:
    """The model as a message of this class; one text where the message has a list becomes one."""
    values = model.model_dump()
    for field in message.DESCRIPTOR.fields:
        if field.is_repeated and isinstance(values.get(field.name), str | bytes):
            values[field.name] = [values[field.name]]
    return message(**values)
