"""Hugging Face inference shapes → every task: POST /models/ID and /pipeline/TASK.

ID is the name of a model, or of a task, with any owner before it. A translation names its languages
as parameters, or in its path, as Transformers does: `translation_en_to_de`.
https://huggingface.co/docs/inference-providers/tasks
"""

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from service.compat.surface import Entrance, route
from service.errors import InvalidInput, MalformedRequest, NotFound, refusal
from service.http_body import binary_field
from service.json_body import check_depth
from service.openapi import HEADERS, PROBLEM
from service.schema import RequestModel, ResponseModel, input_field
from service.tasks import Task

PAIR = re.compile(r"translation_([a-z]{2,8})_to_([a-z]{2,8})")
IGNORED = {"clean_up_tokenization_spaces", "truncation"}
"""Parameters that change nothing: texts are cut into sentences, and never truncated."""
GENERATION = {"num_beams": "beam_size", "max_new_tokens": "max_new_tokens",
              "length_penalty": "length_penalty"}  # fmt: skip


class Body(BaseModel):
    """The JSON of a request; `options` of older clients are not looked at."""

    model_config = ConfigDict(extra="forbid", strict=True)

    inputs: str | list[str] | dict[str, Any] = Field(
        description="Text, a file in base64, or an object."
    )
    parameters: dict[str, Any] = {}
    options: dict[str, Any] = {}


def _refused(name: str) -> InvalidInput:
    return InvalidInput("is not supported here", f"parameters.{name[:64]}")


def _translation(parameters: dict[str, Any]) -> dict[str, Any]:
    fields = {}
    for name, ours in (("src_lang", "source"), ("tgt_lang", "target")):
        if name not in parameters:
            raise InvalidInput("name the language of the text and the one wanted", name)
        fields[ours] = parameters.pop(name)
    generation = parameters.pop("generate_parameters", {})
    if not isinstance(generation, dict):
        raise InvalidInput("is an object", "generate_parameters")
    for name, value in generation.items():
        if name not in GENERATION:
            raise _refused(name)
        fields[GENERATION[name]] = value
    return fields


def _classification(parameters: dict[str, Any]) -> dict[str, Any]:
    if parameters.pop("function_to_apply", "softmax") != "softmax":
        raise InvalidInput("scores are probabilities: softmax", "parameters.function_to_apply")
    return {"top_k": parameters.pop("top_k")} if "top_k" in parameters else {}


def _transcription(parameters: dict[str, Any]) -> dict[str, Any]:
    timestamps = parameters.pop("return_timestamps", False)
    if not isinstance(timestamps, bool):
        raise InvalidInput("is true or false", "parameters.return_timestamps")
    fields: dict[str, Any] = {"timestamps": timestamps}
    for name in ("generate_kwargs", "generation_parameters", "generate_parameters"):
        generation = parameters.pop(name, {})
        if not isinstance(generation, dict):
            raise InvalidInput("is an object", f"parameters.{name}")
        for inner, value in generation.items():
            if inner != "language":
                raise _refused(inner)
            fields["language"] = value
    return fields


FIELDS: Mapping[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "translation": _translation,
    "image-classification": _classification,
    "audio-classification": _classification,
    "automatic-speech-recognition": _transcription,
}
"""Task → its parameters as our fields; they are taken out of the given dict. Those of any other
task are named as our fields are."""


def _own(task: Task, parameters: dict[str, Any]) -> dict[str, Any]:
    beside = {*task.request.model_fields} - {input_field(task.request), "model"}
    return {name: parameters.pop(name) for name in beside & {*parameters}}


def _body(
    content: bytes, media: str, binary: str | None, depth_limit: int | None
) -> tuple[Any, dict[str, Any]]:
    """The text or the bytes, and the parameters."""
    if binary and media != "application/json" and content.lstrip()[:1] != b"{":
        return content, {}
    try:
        check_depth(content, depth_limit)
        body = Body.model_validate_json(content)
    except ValidationError as error:
        if error.errors()[0]["type"] == "json_invalid":
            raise MalformedRequest("the body is not JSON", "body") from error
        raise refusal(error) from error
    if binary is None:
        return body.inputs, body.parameters
    if not isinstance(body.inputs, str):
        raise InvalidInput("is one file in base64", "inputs")
    try:
        return base64.b64decode(body.inputs, validate=True), body.parameters
    except (binascii.Error, ValueError) as error:
        raise InvalidInput("is not base64", "inputs") from error


def asked_of(
    task: Task,
    model: str,
    content: bytes,
    media: str,
    said: Mapping[str, Any],
    depth_limit: int | None,
) -> RequestModel:
    """The typed request; `said` are parameters that the path holds."""
    binary = binary_field(task)
    value, given = _body(content, media, binary, depth_limit)
    parameters = {**given, **said}
    of = FIELDS.get(task.name) or partial(_own, task)
    fields = of(parameters)
    for name in parameters:
        if name not in IGNORED:
            raise _refused(name)
    try:
        return task.request.model_validate(
            {input_field(task.request): value, "model": model, **fields}
        )
    except ValidationError as error:
        raise refusal(error) from error


def shaped(task: str, answer: Any, *, timestamps: bool) -> Any:
    """The answer as clients of this shape read it."""
    if task == "translation":
        return [{"translation_text": one.text} for one in answer.translations]
    if task != "automatic-speech-recognition":
        said = answer.model_dump(mode="json", exclude={*ResponseModel.model_fields})
        return next((value for value in said.values() if isinstance(value, list)), said)
    if not timestamps:
        return {"text": answer.text}
    chunks = [{"text": s.text, "timestamp": [s.start_s, s.end_s]} for s in answer.segments]
    return {"text": answer.text, "chunks": chunks}


def routes(entrance: Entrance) -> list[Route]:
    """The paths of this shape; an id may hold slashes."""
    engine = entrance.engine
    registry = engine.models.registry

    def of_task(name: str) -> tuple[Task, dict[str, str]] | None:
        pair = PAIR.fullmatch(name)
        said = {"src_lang": pair[1], "tgt_lang": pair[2]} if pair else {}
        task = engine.tasks.get("translation" if pair else name)
        return (task, said) if task else None

    def found(name: str) -> tuple[Task, str, dict[str, str]]:
        """The task, the model and the parameters that an id, or a task in a path, stands for."""
        last = name.rpartition("/")[2]
        if registry.current(last.partition(":")[0]):
            model = registry.named(last)
            return model.task, last, {}
        if known := of_task(last):
            return known[0], "", known[1]
        there = ", ".join(sorted({*registry.names(), *engine.tasks}))
        raise NotFound(f"there is no model {name[:64]!r}; there are {there}")

    def asked_in(path: Mapping[str, str]) -> tuple[Task, str, dict[str, str]]:
        """As `found`; where a path names both, the model has to be for the task."""
        if "task" not in path:
            return found(path["id"])
        if (known := of_task(path["task"])) is None:
            there = ", ".join(engine.tasks)
            raise NotFound(f"there is no task {path['task'][:64]!r}; there are {there}")
        task, said = known
        if "id" not in path:
            return task, "", said
        _, model, more = found(path["id"])
        return task, model, {**more, **said}

    async def answer(request: Request) -> Response:
        task, model, said = asked_in(request.path_params)
        with entrance.call(task.name, request) as call:
            media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
            depth_limit = engine.settings.max_json_depth
            asked: Any = asked_of(task, model, await call.body(), media, said, depth_limit)
            given = await call.work(engine.answer(task.name, asked, **call.asked()))
            timestamps = getattr(asked, "timestamps", False)
            return JSONResponse(shaped(task.name, given, timestamps=timestamps))

    paths = ("/models/{id:path}/pipeline/{task}", "/models/{id:path}", "/pipeline/{task}")
    return [route(entrance, path, {"POST": answer}) for path in paths]


def paths(tasks: Mapping[str, Task]) -> dict[str, Any]:
    """This shape's part of the OpenAPI document."""
    body = Body.model_json_schema()
    example = {
        "inputs": "I like to read books.",
        "parameters": {"src_lang": "en", "tgt_lang": "de"},
    }
    content = {
        "application/json": {"schema": body, "example": example},
        "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
    }
    refusals = ("400", "404", "413", "415", "422", "429", "503", "504")

    def operation(name: str) -> dict[str, Any]:
        return {
            "tags": ["Hugging Face"],
            "operationId": f"Hugging Face {name}",
            "summary": f"inference by {name}",
            "parameters": [
                {"name": name, "in": "path", "required": True, "schema": {"enum": sorted(tasks)}},
                *HEADERS,
            ],
            "requestBody": {"required": True, "content": content},
            "responses": {
                "200": {"description": "The answer.", "content": {"application/json": {}}},
                **dict.fromkeys(refusals, PROBLEM),
            },
        }

    return {
        "/models/{id}": {"post": operation("id")},
        "/pipeline/{task}": {"post": operation("task")},
    }
