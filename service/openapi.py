"""tasks → one OpenAPI 3.1 document and the page that shows it."""

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any, cast

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from service import events, headers
from service.listing import ListModelsResponse
from service.live.streams import FIELDS
from service.tasks import Task

PAGE_FILES = ("bentoml", "_internal/server/static_content")
"""Package and folder of the page's script and style: no other host is asked for them."""
PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Attendant</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="stylesheet" href="/static_content/swagger-ui.css"></head>
<body><div id="page"></div>
<script src="/static_content/swagger-ui-bundle.js"></script>
<script>SwaggerUIBundle({url: "/openapi.json", dom_id: "#page", tryItOutEnabled: true})</script>
</body></html>
"""

STREAMED = (
    "Server-Sent Events. `partial`: JSON with `index` (which text), `text` and `replaces`: the "
    "text follows what came of that index, or stands for it. At last `answer`, the JSON of the "
    "ordinary answer, or `problem`."
)
LIVE = (
    "Send 16-bit samples, little-endian, one channel, as binary messages, and at last the text "
    '`{"type": "end"}`. Events come as JSON, or `problem`.'
)
PROBLEM = {
    "description": "The request was refused; `field` says what is to blame (RFC 9457).",
    "content": {
        "application/problem+json": {
            "schema": {
                "type": "object",
                "required": ["type", "title", "status", "detail", "error"],
                "properties": {
                    "type": {"type": "string"},
                    "title": {"type": "string"},
                    "status": {"type": "integer"},
                    "detail": {"type": "string"},
                    "instance": {"type": "string"},
                    "error": {"type": "string", "description": "Field and detail, for clients."},
                    "field": {"type": "string"},
                },
            }
        }
    },
}


KEYS = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    "query": {"type": "apiKey", "in": "query", "name": "api_key"},
}
"""Where a key may be, if the service asks for one."""
HEADERS: list[dict[str, Any]] = [
    {
        "name": headers.TIMEOUT,
        "in": "header",
        "required": False,
        "description": "How long the client waits: up to 8 digits and a unit of H, M, S, m, u, n. "
        "The service's own limit holds beside it.",
        "schema": {"type": "string", "pattern": "^[0-9]{1,8}[HMSmun]$"},
        "example": "500m",
    },
    {
        "name": headers.PRIORITY,
        "in": "header",
        "required": False,
        "description": "RFC 9218: urgency from 0, the first, to 7, the last; 3 if nothing is said.",
        "schema": {"type": "string", "pattern": "^u=[0-7]$"},
        "example": "u=3",
    },
]


def version_of() -> str:
    """Of the package, or 0 where it was not installed."""
    try:
        return version("attendant")
    except PackageNotFoundError:
        return "0"


def _operation(task: Task, schemas: Mapping[type[BaseModel], str]) -> dict[str, Any]:
    reference = {"$ref": f"#/components/schemas/{schemas[task.request]}"}
    fields = task.request.model_fields
    binary = [name for name, field in fields.items() if field.annotation is bytes]
    parameters: list[dict[str, Any]] = []
    if binary:
        properties = task.request.model_json_schema()["properties"]
        parameters = [
            {"name": name, "in": "query", "required": False, "schema": properties[name]}
            for name in fields
            if name not in binary
        ]
        content: dict[str, Any] = {
            "multipart/form-data": {"schema": reference},
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
        }
    else:
        content = {
            "application/json": {
                "schema": reference,
                "example": task.example().model_dump(mode="json", exclude_defaults=True),
            }
        }
    answer = {"$ref": f"#/components/schemas/{schemas[task.response]}"}
    answers: dict[str, Any] = {"application/json": {"schema": answer}}
    if task.generation:
        answers[events.MEDIA_TYPE] = {"schema": {"type": "string", "description": STREAMED}}
    refusals = ("400", "404", "406", "413", "415", "422", "429", "503", "504")
    return {
        "operationId": task.rpc,
        "summary": task.summary,
        "description": (task.request.__doc__ or "").strip(),
        "parameters": parameters + HEADERS,
        "requestBody": {"required": True, "content": content},
        "responses": {
            "200": {
                "description": "The answer.",
                "content": answers,
            },
            **dict.fromkeys(refusals, PROBLEM),
        },
    }


def _listing(schema: str) -> dict[str, Any]:
    content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}}
    return {
        "operationId": "ListModels",
        "summary": "every model that may be asked for, with its card",
        "parameters": [],
        "responses": {"200": {"description": "The answer.", "content": content}},
    }


def _live(task: Task) -> dict[str, Any]:
    """The socket of a task; OpenAPI 3.1 knows of no messages behind the 101."""
    fields = {
        "rate_hz": {"type": "integer", "default": 16_000},
        **{name: {"type": "string"} for name in sorted(FIELDS[task.name] - {"rate_hz"})},
    }
    told = " ".join(((task.live and task.live.__doc__) or "").split())
    return {
        "operationId": f"{task.rpc}Live",
        "summary": f"{task.rpc} while it is spoken, over a WebSocket.",
        "description": f"{LIVE} {told}",
        "parameters": [
            {"name": name, "in": "query", "required": False, "schema": schema}
            for name, schema in fields.items()
        ],
        "responses": {"101": {"description": "Events follow."}, "426": PROBLEM},
    }


def _guarded(operation: dict[str, Any]) -> dict[str, Any]:
    """With what is answered where keys are asked for, and none or a wrong one comes."""
    refusals = dict.fromkeys(("401", "403"), PROBLEM)
    return {**operation, "responses": {**operation["responses"], **refusals}}


def document(
    tasks: Mapping[str, Task], surfaces: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Every task's route, from its pydantic models, and the paths of `service/compat` as given."""
    models: list[type[BaseModel]] = [
        model for task in tasks.values() for model in (task.request, task.response)
    ]
    models.append(ListModelsResponse)
    references, definitions = models_json_schema(
        [(model, "validation") for model in models], ref_template="#/components/schemas/{model}"
    )
    schemas = {
        cast("type[BaseModel]", model): str(reference["$ref"]).rpartition("/")[2]
        for (model, _), reference in references.items()
    }
    paths: dict[str, dict[str, Any]] = {
        **{f"/{task.name}": {"post": _operation(task, schemas)} for task in tasks.values()},
        **{f"/{task.name}/live": {"get": _live(task)} for task in tasks.values() if task.live},
        "/models": {"get": _listing(str(schemas[ListModelsResponse]))},
        **(surfaces or {}),
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Attendant",
            "version": version_of(),
            "description": "Attention models for translation, pictures and speech.",
        },
        "paths": {
            path: {method: _guarded(operation) for method, operation in methods.items()}
            for path, methods in paths.items()
        },
        "components": {"schemas": definitions.get("$defs", {}), "securitySchemes": KEYS},
        "security": [{}, *({name: []} for name in KEYS)],
    }
