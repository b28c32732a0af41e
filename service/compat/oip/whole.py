"""a whole task → tensors: BYTES in, BYTES and numbers out, whatever its request and answer hold.

What a request is about (`input_field`) is the input, one element for each text, file or object,
which comes as its JSON. The other fields are parameters. The outputs are what the answer holds,
one element or row for each of the input's; rows of several lengths are filled up with nothing, 0 or
NaN.
"""

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ValidationError

from service.compat.oip.tensors import BYTES, MAX_DEPTH, Spec
from service.engine import Engine
from service.errors import InvalidInput, MalformedRequest, TooLarge, refusal
from service.json_body import from_json
from service.pb.proto import kind
from service.schema import RequestModel, ResponseModel, input_field
from service.tasks import Task

MAX_ELEMENTS = 64
"""Texts or files of one request."""
KINDS: Mapping[type, tuple[str, Any]] = {
    str: (BYTES, b""), bytes: (BYTES, b""),
    bool: ("BOOL", False), int: ("INT32", 0), float: ("FP32", np.nan),
}  # fmt: skip
"""Python type → datatype, and what stands where a row has no more."""
DTYPES = {BYTES: object, "BOOL": np.bool_, "INT32": np.int32, "FP32": np.float32}


@dataclass(frozen=True)
class Column:
    """One output: which field of the answer, and of what that holds, and whether it is a list."""

    spec: Spec
    fields: tuple[str, ...]
    empty: Any

    def of(self, answer: BaseModel) -> Any:
        """The element, or the row, of one answer."""
        first, *inner = self.fields
        value = getattr(answer, first)
        return [attrgetter(".".join(inner))(one) for one in value] if inner else value

    def array(self, answers: Sequence[BaseModel]) -> NDArray[Any]:
        values = [self.of(answer) for answer in answers]
        shape = [len(values)]
        if len(self.spec.shape) == 2:
            shape.append(max(map(len, values)))
        array: NDArray[Any] = np.full(shape, self.empty, DTYPES[self.spec.datatype])
        for at, value in enumerate(values):
            if len(shape) == 2:
                array[at, : len(value)] = self._plain(value)
            else:
                array[at] = self._plain([value])[0]
        return array

    def _plain(self, values: Sequence[Any]) -> list[Any]:
        known = (self.empty if value is None else value for value in values)
        return [value.encode() if isinstance(value, str) else value for value in known]


def _leaves(model: type[BaseModel]) -> Iterator[tuple[tuple[str, ...], type]]:
    """The values within one entry, at any depth; lists in a list of entries are no tensor."""
    for name, field in model.model_fields.items():
        label, element = kind(field.annotation)
        if label != "repeated" and issubclass(element, BaseModel):
            yield from (((name, *inner), type_) for inner, type_ in _leaves(element))
        elif label != "repeated":
            yield (name,), element


def _columns(model: type[BaseModel], skip: Iterable[str] = ()) -> list[Column]:
    columns: list[Column] = []
    for name, field in model.model_fields.items():
        if name in skip:
            continue
        label, element = kind(field.annotation)
        if issubclass(element, BaseModel):
            taken = {column.spec.name for column in columns}
            for fields, type_ in _leaves(element):
                datatype, empty = KINDS[type_]
                unique = f"{name}.{fields[-1]}" if fields[-1] in taken else fields[-1]
                columns.append(Column(Spec(unique, datatype, (-1, -1)), (name, *fields), empty))
        else:
            datatype, empty = KINDS[element]
            shape = (-1, -1) if label == "repeated" else (-1,)
            columns.append(Column(Spec(name, datatype, shape), (name,), empty))
    return columns


class WholeModel:
    """A task as a model whose name is the task's."""

    platform = "attendant_task"
    max_batch = MAX_ELEMENTS
    labels: Sequence[str] = ()

    def __init__(self, task: Task) -> None:
        self.name = self.task = task.name
        self._request = task.request
        self._field = input_field(task.request)
        label, element = kind(task.request.model_fields[self._field].annotation)
        self._text, self._several = element is str, label == "repeated"
        self._object = issubclass(element, BaseModel)
        self.inputs: Sequence[Spec] = [Spec(self._field, BYTES, (-1,))]
        shared = ResponseModel.model_fields
        own = [name for name in task.response.model_fields if name not in shared]
        if self._several:  # one answer, with a list that has an entry for each element
            (self._entries,) = own
            _, entry = kind(task.response.model_fields[self._entries].annotation)
            self._columns = _columns(entry)
        else:
            self._columns = _columns(task.response, skip=shared)
        self.outputs: Sequence[Spec] = [column.spec for column in self._columns]

    async def infer(
        self,
        engine: Engine,
        tag: str,
        inputs: Mapping[str, NDArray[Any]],
        parameters: Mapping[str, Any],
        asked: Mapping[str, Any],
    ) -> tuple[dict[str, NDArray[Any]], str]:
        """Outputs by name, and the name of the model that gave them."""
        values = inputs[self._field].tolist()
        if len(values) > MAX_ELEMENTS:
            raise TooLarge(f"{len(values)} elements, of at most {MAX_ELEMENTS}", self._field)
        if self._field in parameters:
            raise InvalidInput("is an input, not a parameter", self._field)
        if "model" in parameters:
            raise InvalidInput("is named by the request itself", "model")
        requests = self._requests(values, {**parameters, "model": tag})
        answers = await _answers(engine, self.task, requests, asked)
        entries = getattr(answers[0], self._entries) if self._several else answers
        columns = {column.spec.name: column.array(entries) for column in self._columns}
        return columns, answers[0].model

    def _element(self, value: bytes) -> Any:
        if self._object:
            return from_json(value, MAX_DEPTH)
        return value.decode() if self._text else value

    def _requests(
        self, values: Sequence[bytes], parameters: Mapping[str, Any]
    ) -> list[RequestModel]:
        try:
            elements: list[Any] = [self._element(value) for value in values]
        except UnicodeDecodeError as error:
            raise MalformedRequest("a text is not UTF-8", self._field) from error
        except ValueError as error:
            raise MalformedRequest("an element is not JSON", self._field) from error
        given = [elements] if self._several else elements
        try:
            return [self._request.model_validate({**parameters, self._field: one}) for one in given]
        except ValidationError as error:
            raise refusal(error) from error


async def _answers(
    engine: Engine, task: str, requests: Sequence[RequestModel], asked: Mapping[str, Any]
) -> list[ResponseModel]:
    """All answers, or what is wrong with one, and then the others are not computed any further."""
    if len(requests) == 1:
        return [await engine.answer(task, requests[0], **asked)]
    try:
        async with asyncio.TaskGroup() as group:
            work = [group.create_task(engine.answer(task, one, **asked)) for one in requests]
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return [one.result() for one in work]
