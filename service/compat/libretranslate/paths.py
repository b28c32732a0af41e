"""LibreTranslate's paths → their part of the OpenAPI document."""

from collections.abc import Mapping
from typing import Any

from service.compat.libretranslate.said import (
    FORMATS,
    FORMS,
    MAX_ALTERNATIVES,
    MAX_TERM_CHARS,
    MAX_TERMS,
)
from service.openapi import HEADERS, PROBLEM
from service.tasks import Task

PATHS = {"/translate", "/translate_file", "/detect", "/languages", "/suggest", "/health",
         "/frontend/settings"}  # fmt: skip
LANGUAGES: dict[str, Any] = {
    "source": {"type": "string", "description": "As en, or auto."},
    "target": {"type": "string", "description": "As de."},
    "model": {"type": "string", "description": "A model that is not the default."},
    "glossary": {
        "type": "object",
        "maxProperties": MAX_TERMS,
        "additionalProperties": {"type": ["string", "null"], "maxLength": MAX_TERM_CHARS},
        "description": "Words, in their case, and what is to stand for each in the translation: "
        "exactly that, or with null the words themselves. In a form it is JSON.",
        "examples": [{"library": "Stadtbibliothek", "Attendant": None}],
    },
}
TEXTS: dict[str, Any] = {
    "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]
}
ALTERNATIVES = {"type": "integer", "minimum": 0, "maximum": MAX_ALTERNATIVES}
TRANSLATE: dict[str, Any] = {
    "type": "object",
    "required": ["q", "source", "target"],
    "properties": {
        "q": TEXTS,
        **LANGUAGES,
        "format": {"enum": [*FORMATS], "default": "text"},
        "alternatives": ALTERNATIVES,
    },
}
FILE: dict[str, Any] = {
    "type": "object",
    "required": ["file", "source", "target"],
    "properties": {
        "file": {"type": "string", "format": "binary", "description": "Of .txt, .html or .docx."},
        **LANGUAGES,
    },
}
ASKED = {
    "q": "<p>I like to <b>read books</b>.</p>", "source": "en", "target": "de", "format": "html",
    "glossary": {"books": "Bücher"},
}  # fmt: skip
REFUSALS = ("400", "404", "413", "415", "422", "429", "503", "504")


def _operation(summary: str, *refusals: str, answer: Any = None, **members: Any) -> dict[str, Any]:
    content = {} if answer is None else {"application/json": {"example": answer}}
    return {
        "tags": ["LibreTranslate"],
        "operationId": f"LibreTranslate {summary}",
        "summary": summary,
        "parameters": [],
        "responses": {
            "200": {"description": "The answer.", "content": content},
            **dict.fromkeys(refusals, PROBLEM),
        },
        **members,
    }


def _body(content: dict[str, Any]) -> dict[str, Any]:
    return {"parameters": HEADERS, "requestBody": {"required": True, "content": content}}


def paths(tasks: Mapping[str, Task]) -> dict[str, Any]:
    """This API's part of the document."""
    texts = {
        "application/json": {"schema": TRANSLATE, "example": ASKED},
        FORMS: {"schema": TRANSLATE},
    }
    text = {"type": "object", "required": ["q"], "properties": {"q": TEXTS}}
    detected = {"application/json": {"schema": text, "example": {"q": "Guten Morgen."}}}
    link = {"translatedFileUrl": "http://127.0.0.1:3000/download_file/NAME.page_de.html"}
    named = [{"name": "name", "in": "path", "required": True, "schema": {"type": "string"}}]
    file = _operation("download a translated file", "404", parameters=named)
    file["responses"]["200"]["content"] = {
        "application/octet-stream": {"schema": {"type": "string", "format": "binary"}}
    }
    english = [{"code": "en", "name": "English", "targets": ["de", "en", "fr"]}]
    return {
        "/translate": {
            "post": _operation(
                "translate",
                *REFUSALS,
                answer={"translatedText": "<p>Ich <b>lese</b> gerne <b>Bücher</b>.</p>"},
                **_body(texts),
            )
        },
        "/translate_file": {
            "post": _operation(
                "translate a file",
                *REFUSALS,
                answer=link,
                **_body({"multipart/form-data": {"schema": FILE}}),
            )
        },
        "/download_file/{name}": {"get": file},
        "/detect": {
            "post": _operation(
                "detect",
                *REFUSALS,
                answer=[{"language": "de", "confidence": 99.9}],
                **_body(detected),
            )
        },
        "/languages": {"get": _operation("languages", "503", answer=english)},
        "/frontend/settings": {
            "get": _operation("settings", "503", answer={"charLimit": 20_000, "keyRequired": False})
        },
        "/health": {"get": _operation("health", answer={"status": "ok"})},
    }
