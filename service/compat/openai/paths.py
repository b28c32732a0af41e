"""OpenAI's audio API → its part of the OpenAPI document."""

from collections.abc import Mapping
from typing import Any

from service.compat.openai.form import FILE, Transcription, Translation
from service.events import MEDIA_TYPE
from service.openapi import HEADERS
from service.tasks import Task

ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"]},
                "code": {"type": "string"},
            },
        }
    },
}
REFUSED = {
    "description": "The request was refused; `error.param` says what is to blame.",
    "content": {"application/problem+json": {"schema": ERROR}},
}
SPOKEN = {"text": "Good morning, please open the window and close the door."}
MODEL = {"id": "whisper-1", "object": "model", "created": 1_760_000_000, "owned_by": "attendant"}
EVENTS = (
    "Data is JSON: `transcript.text.delta` with `delta`, what follows the text so far; at last "
    "`transcript.text.done` with the whole `text`, and `[DONE]`. What goes wrong meanwhile is an "
    "event with `error`."
)


def _operation(
    summary: str, *refusals: str, content: dict[str, Any], **more: Any
) -> dict[str, Any]:
    return {
        "tags": ["OpenAI"],
        "operationId": f"OpenAI {summary}",
        "summary": summary,
        "parameters": [],
        "responses": {
            "200": {"description": "The answer.", "content": content},
            **dict.fromkeys(refusals, REFUSED),
        },
        **more,
    }


def _inlined(schema: Any, held: Mapping[str, Any]) -> Any:
    """A schema with what it refers to in place of the references."""
    if isinstance(schema, list):
        return [_inlined(each, held) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return held[schema["$ref"].rpartition("/")[2]]
    return {name: _inlined(of, held) for name, of in schema.items() if name != "$defs"}


def _audio(summary: str, form: type[Translation]) -> dict[str, Any]:
    whole = form.model_json_schema()
    schema = _inlined(whole, whole.get("$defs", {}))
    schema["properties"] = {FILE: {"type": "string", "format": "binary"}, **schema["properties"]}
    schema["required"] = [FILE, *schema["required"]]
    content = {
        "application/json": {"schema": {"type": "object"}, "example": SPOKEN},
        "text/plain": {"schema": {"type": "string"}},
    }
    if form is Transcription:
        content[MEDIA_TYPE] = {"schema": {"type": "string", "description": EVENTS}}
    return _operation(
        summary,
        *("400", "404", "413", "415", "422", "429", "503", "504"),
        content=content,
        parameters=HEADERS,
        requestBody={"required": True, "content": {"multipart/form-data": {"schema": schema}}},
    )


def paths(tasks: Mapping[str, Task]) -> dict[str, Any]:
    """This API's part of the document."""
    listed = {"application/json": {"example": {"object": "list", "data": [MODEL]}}}
    named = {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}
    one = {"application/json": {"example": MODEL}}
    return {
        "/v1/audio/transcriptions": {"post": _audio("transcribe", Transcription)},
        "/v1/audio/translations": {"post": _audio("translate speech", Translation)},
        "/v1/models": {"get": _operation("models", content=listed)},
        "/v1/models/{id}": {
            "get": _operation("model", "404", "503", content=one, parameters=[named])
        },
    }
