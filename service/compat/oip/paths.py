"""the protocol's REST paths → their part of the OpenAPI document."""

from collections.abc import Mapping
from typing import Any

from service.openapi import HEADERS, PROBLEM
from service.tasks import Task

NAMED = {
    "model": "A model, or a task; `.model` behind it for the tensors of its graph.",
    "version": "",
}
TENSOR: dict[str, Any] = {
    "type": "object",
    "required": ["name", "datatype", "shape"],
    "properties": {
        "name": {"type": "string"},
        "datatype": {"type": "string", "examples": ["FP32", "BYTES"]},
        "shape": {"type": "array", "items": {"type": "integer"}},
        "parameters": {"type": "object"},
        "data": {"type": "array", "items": {}, "description": "Nested or flat, row by row."},
    },
}
REQUEST: dict[str, Any] = {
    "type": "object",
    "required": ["inputs"],
    "properties": {
        "id": {"type": "string", "description": "Comes back in the answer."},
        "parameters": {
            "type": "object",
            "description": "Fields of the task beside its input; also `timeout` in microseconds, "
            "`priority` from 1, the first, and `binary_data_output`.",
        },
        "inputs": {"type": "array", "items": TENSOR},
        "outputs": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["name"],
                "properties": {"name": {"type": "string"}, "parameters": {"type": "object"}},
            },
        },
    },
}
ANSWER: dict[str, Any] = {
    "type": "object",
    "required": ["model_name", "model_version", "outputs"],
    "properties": {
        "model_name": {"type": "string"},
        "model_version": {"type": "string"},
        "id": {"type": "string"},
        "outputs": {"type": "array", "items": TENSOR},
    },
}
EXAMPLE = {
    "id": "1",
    "parameters": {"source": "en", "target": "de"},
    "inputs": [
        {"name": "text", "datatype": "BYTES", "shape": [1], "data": ["I like to read books."]}
    ],
}
BINARY = {
    "schema": {
        "type": "string",
        "format": "binary",
        "description": "JSON, as long as Inference-Header-Content-Length says, then the tensors.",
    }
}


def _operation(path: str, summary: str, *refusals: str, **members: Any) -> dict[str, Any]:
    named = [
        {"name": name, "in": "path", "required": True, "description": text,
         "schema": {"type": "string"}}
        for name, text in NAMED.items()
        if f"{{{name}}}" in path
    ]  # fmt: skip
    answers = members.pop("answers", {"application/json": {"schema": {"type": "object"}}})
    return {
        "tags": ["Open Inference Protocol"],
        "operationId": f"v2 {summary}" + (" of a version" if "{version}" in path else ""),
        "summary": summary,
        "parameters": named + members.pop("parameters", []),
        "responses": {
            "200": {"description": "The answer.", "content": answers},
            **dict.fromkeys(refusals, PROBLEM),
        },
        **members,
    }


def _inference(path: str) -> dict[str, Any]:
    content = {
        "application/json": {"schema": REQUEST, "example": EXAMPLE},
        "application/octet-stream": BINARY,
    }
    length = {
        "name": "Inference-Header-Content-Length", "in": "header", "required": False,
        "description": "Bytes of the JSON, where binary tensors follow it; 0 where all of the body "
        "is the one input of the model.",
        "schema": {"type": "integer", "minimum": 0},
    }  # fmt: skip
    refusals = ("400", "404", "413", "415", "422", "429", "501", "503", "504")
    return _operation(
        path, "infer", *refusals,
        parameters=[length, *HEADERS],
        requestBody={"required": True, "content": content},
        answers={"application/json": {"schema": ANSWER}, "application/octet-stream": BINARY},
    )  # fmt: skip


def paths(tasks: Mapping[str, Task]) -> dict[str, Any]:
    """Paths with their operations."""
    found: dict[str, Any] = {
        "/v2": {"get": _operation("", "server metadata")},
        "/v2/health/live": {"get": _operation("", "liveness")},
        "/v2/health/ready": {"get": _operation("", "readiness", "503")},
        "/v2/models/stats": {"get": _operation("", "statistics of all models")},
        "/v2/repository/index": {
            "post": _operation(
                "",
                "models and their states",
                "400",
                "413",
                "415",
                "503",
                answers={"application/json": {"schema": {"type": "array"}}},
            )
        },
    }
    for verb in ("load", "unload"):
        path = f"/v2/repository/models/{{model}}/{verb}"
        refusals = ("400", "403", "404", "413", "415", "501", "503")
        found[path] = {"post": _operation(path, f"{verb} a model", *refusals)}
    for model in ("/v2/models/{model}", "/v2/models/{model}/versions/{version}"):
        found[f"{model}/infer"] = {"post": _inference(model)}
        for part in ("", "/ready", "/config", "/stats"):
            summary = f"{part[1:] or 'metadata'} of a model"
            found[model + part] = {"get": _operation(model, summary, "404", "503")}
    return found
