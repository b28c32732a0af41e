"""LibreTranslate's API → the translation task: /translate, /detect, /languages, /frontend/settings.

Errors are in the words that its clients know. Html is not parsed.
`model` is ours: the name of a translation model that is not the default.
https://github.com/LibreTranslate/LibreTranslate/blob/main/libretranslate/app.py
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl

from pydantic import ValidationError
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from service.compat.detection import Ranking, detect
from service.compat.surface import Entrance, Handler, route
from service.errors import MalformedRequest, NotFound, Problem, refusal
from service.http_call import problem_response
from service.json_body import from_json
from service.openapi import HEADERS, PROBLEM
from service.tasks import Task
from service.tasks.translation import MAX_TEXT_CHARS, MAX_TEXTS, Assets, Request, Translation

TASK = "translation"
PATHS = {"/translate", "/translate_file", "/detect", "/languages", "/suggest", "/frontend/settings"}
NAMES = {"de": "German", "en": "English", "fr": "French"}
AUTO = "auto"
"""The source of a text whose language is to be detected."""
MAX_ALTERNATIVES = 7
BEAM_SIZE = 4
FORMS = "application/x-www-form-urlencoded"
OPEN = {"access-control-allow-origin": "*", "access-control-allow-headers": "*"}
"""Pages of other hosts may ask, as they may ask LibreTranslate."""


def _invalid(words: str) -> MalformedRequest:
    return MalformedRequest(f"Invalid request: {words}")


def _fields(request: HttpRequest, body: bytes, depth_limit: int | None) -> dict[str, Any]:
    """What was sent as JSON, as a form or in the query; JSON is what else it may be."""
    media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    try:
        if media == FORMS:
            return {**request.query_params, **dict(parse_qsl(body.decode(), max_num_fields=32))}
        said = from_json(body, depth_limit) if body else {}
    except ValueError as error:
        raise _invalid("the body is neither JSON nor a form") from error
    if not isinstance(said, dict):
        raise _invalid("the body is not a JSON object")
    return {**request.query_params, **said}


def _named(code: str) -> str:
    return f"{NAMES.get(code, code)} ({code})"


def _languages(said: Mapping[str, Any], assets: Assets) -> tuple[str, str]:
    for field in ("source", "target"):
        if not said.get(field):
            raise _invalid(f"missing {field} parameter")
        if (field, said[field]) == ("source", AUTO):
            continue
        if said[field] not in assets.directions.languages:
            raise MalformedRequest(f"{str(said[field])[:16]} is not supported")
    source, target = said["source"], said["target"]
    if source not in (AUTO, target) and not assets.directions.knows(source, target):
        raise MalformedRequest(
            f"{_named(target)} is not available as a target language from {_named(source)}"
        )
    return source, target


def _texts(said: Mapping[str, Any]) -> list[str]:
    q = said.get("q")
    if q is None or q == []:
        raise _invalid("missing q parameter")
    texts = q if isinstance(q, list) else [q]
    if not all(isinstance(text, str) for text in texts):
        raise _invalid("q parameter is not a text or a list of them")
    longest = max(map(len, texts))
    if longest > MAX_TEXT_CHARS:
        raise _invalid(f"request ({longest}) exceeds text limit ({MAX_TEXT_CHARS})")
    if len(texts) > MAX_TEXTS:
        raise _invalid(f"request ({len(texts)}) exceeds batch limit ({MAX_TEXTS})")
    return texts


def _alternatives(said: Mapping[str, Any]) -> int:
    try:
        wanted = int(said.get("alternatives", 0))
    except (TypeError, ValueError) as error:
        raise _invalid("alternatives parameter is not a number") from error
    if not 0 <= wanted <= MAX_ALTERNATIVES:
        raise _invalid(f"alternatives parameter is not from 0 to {MAX_ALTERNATIVES}")
    return wanted


def _ranked(texts: Sequence[str], assets: Assets) -> list[Ranking]:
    return [detect(text, assets.directions.languages) for text in texts]


def _confidence(found: tuple[str, float]) -> dict[str, Any]:
    return {"language": found[0], "confidence": round(100 * found[1], 2)}


def _answer(
    said: Mapping[str, Any],
    texts: Sequence[str],
    made: Sequence[Translation | None],
    many: int,
    ranked: Sequence[Ranking] = (),
) -> dict[str, Any]:
    """Texts without words come back as they are, with no alternatives."""
    whole: dict[str, list[Any]] = {
        "translatedText": [one.text if one else text for text, one in zip(texts, made, strict=True)]
    }
    if many:
        whole["alternatives"] = [one.alternatives if one else [] for one in made]
    if ranked:
        whole["detectedLanguage"] = [_confidence(ranking[0]) for ranking in ranked]
    return {name: of if isinstance(said["q"], list) else of[0] for name, of in whole.items()}


def refuse(problem: Problem, path: str) -> Response:
    """In LibreTranslate's words, which name no field."""
    problem.field = None
    response = problem_response(problem, path)
    response.headers.update(OPEN)
    return response


def routes(entrance: Entrance) -> list[Route]:
    """The paths of the API."""
    engine = entrance.engine

    async def assets(model: Any = "") -> Assets:
        if not isinstance(model, str):
            raise _invalid("model parameter is not a name")
        found: Assets = (await engine.opened(engine.find(TASK, model))).assets
        return found

    async def translate(request: HttpRequest) -> Response:
        with entrance.call(TASK, request) as call:
            said = _fields(request, await call.body(), engine.settings.max_json_depth)
            model = said.get("model", "")
            there = await assets(model)
            texts, (source, target) = _texts(said), _languages(said, there)
            if said.get("format", "text") != "text":
                raise MalformedRequest(f"{str(said['format'])[:16]} format is not supported")
            many = _alternatives(said)
            ranked = await asyncio.to_thread(_ranked, texts, there) if source == AUTO else []
            sources = [ranking[0][0] for ranking in ranked] or [source] * len(texts)
            each: list[Translation | None] = [None] * len(texts)
            for spoken in sorted(set(sources)):
                where = [
                    index
                    for index, text in enumerate(texts)
                    if sources[index] == spoken and text.strip()
                ]
                if ranked:
                    where = [index for index in where if ranked[index][0][1] > 0]
                if not where or not there.directions.knows(spoken, target):
                    continue
                try:
                    asked = Request(
                        model=model, text=[texts[index] for index in where], source=spoken,
                        target=target, beam_size=max(BEAM_SIZE, many + 1), alternatives=many,
                    )  # fmt: skip
                except ValidationError as error:
                    raise refusal(error) from error
                answer: Any = await call.work(engine.answer(TASK, asked, **call.asked()))
                for index, made in zip(where, answer.translations, strict=True):
                    each[index] = made
            return JSONResponse(_answer(said, texts, each, many, ranked), headers=OPEN)

    async def detected(request: HttpRequest) -> Response:
        with entrance.call(TASK, request) as call:
            said = _fields(request, await call.body(), engine.settings.max_json_depth)
            texts = _texts(said)
            there = await assets(said.get("model", ""))
            ranking = (await asyncio.to_thread(_ranked, ["\n".join(texts)], there))[0]
            return JSONResponse([_confidence(one) for one in ranking], headers=OPEN)

    async def languages(request: HttpRequest) -> Response:
        known = (await assets()).directions
        listed = [
            {
                "code": code,
                "name": NAMES.get(code, code),
                "targets": sorted({b for b in known.languages if known.knows(code, b)} | {code}),
            }
            for code in known.languages
        ]
        return JSONResponse(listed, headers=OPEN)

    async def settings(request: HttpRequest) -> Response:
        known = (await assets()).directions.languages
        told = {
            "apiKeys": engine.settings.keys_file is not None,
            "charLimit": MAX_TEXT_CHARS,
            "filesTranslation": False,
            "keyRequired": engine.settings.keys_file is not None,
            "language": {
                "source": {"code": known[0], "name": NAMES.get(known[0], known[0])},
                "target": {"code": known[-1], "name": NAMES.get(known[-1], known[-1])},
            },
            "suggestions": False,
            "supportedFilesFormat": [],
        }
        return JSONResponse(told, headers=OPEN)

    async def absent(request: HttpRequest) -> Response:
        raise NotFound("files are not translated on this server")

    async def allowed(request: HttpRequest) -> Response:
        return Response(status_code=204, headers=OPEN)

    def at(path: str, method: str, handler: Handler) -> Route:
        return route(entrance, path, {method: handler, "OPTIONS": allowed}, refuse)

    return [
        at("/translate", "POST", translate),
        at("/languages", "GET", languages),
        at("/frontend/settings", "GET", settings),
        at("/detect", "POST", detected),
        at("/translate_file", "POST", absent),
    ]


def paths(tasks: Mapping[str, Task]) -> dict[str, Any]:
    """This API's part of the OpenAPI document."""
    fields = {
        "q": {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]},
        "source": {"type": "string"},
        "target": {"type": "string"},
        "format": {"enum": ["text"]},
        "alternatives": {"type": "integer", "minimum": 0, "maximum": MAX_ALTERNATIVES},
        "model": {"type": "string"},
    }
    schema = {"type": "object", "required": ["q", "source", "target"], "properties": fields}
    example = {"q": "I like to read books.", "source": "en", "target": "de"}
    content = {
        "application/json": {"schema": schema, "example": example},
        FORMS: {"schema": schema},
    }

    def operation(summary: str, *refusals: str, **members: Any) -> dict[str, Any]:
        return {
            "tags": ["LibreTranslate"],
            "operationId": f"LibreTranslate {summary}",
            "summary": summary,
            "parameters": [],
            "responses": {
                "200": {"description": "The answer.", "content": {"application/json": {}}},
                **dict.fromkeys(refusals, PROBLEM),
            },
            **members,
        }

    body = {"required": True, "content": content}
    refusals = ("400", "413", "422", "429", "503", "504")
    text = {"type": "object", "required": ["q"], "properties": {"q": {"type": "string"}}}
    sent = {"application/json": {"schema": text, "example": {"q": "Guten Morgen."}}}
    detection = operation("detect", *refusals, requestBody={"required": True, "content": sent})
    translate = operation("translate", *refusals, parameters=HEADERS, requestBody=body)
    return {
        "/translate": {"post": translate},
        "/detect": {"post": detection},
        "/languages": {"get": operation("languages", "503")},
        "/frontend/settings": {"get": operation("settings", "503")},
    }
