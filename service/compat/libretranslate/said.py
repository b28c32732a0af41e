"""JSON, a form or a query → what a request asks for; what is wrong in LibreTranslate's words."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import Response

from service.compat.libretranslate.glossary import Terms
from service.directions import Directions
from service.errors import MalformedRequest, Problem
from service.http_call import problem_response
from service.json_body import from_json
from service.tasks.translation import MAX_TEXT_CHARS, MAX_TEXTS

NAMES = {"de": "German", "en": "English", "fr": "French"}
AUTO = "auto"
"""The source of a text whose language is to be detected."""
MAX_ALTERNATIVES = 7
MAX_TERMS = 64
MAX_TERM_CHARS = 200
FORMATS = ("text", "html")
FORMS = "application/x-www-form-urlencoded"
OPEN = {"access-control-allow-origin": "*", "access-control-allow-headers": "*"}
"""Pages of other hosts may ask, as they may ask LibreTranslate."""


@dataclass(frozen=True)
class Asked:
    """What holds for all texts of a request."""

    source: str
    target: str
    html: bool = False
    alternatives: int = 0
    terms: Terms = field(default_factory=dict)
    model: str = ""


def invalid(words: str) -> MalformedRequest:
    return MalformedRequest(f"Invalid request: {words}")


def refuse(problem: Problem, path: str) -> Response:
    """In LibreTranslate's words, which name no field."""
    problem.field = None
    response = problem_response(problem, path)
    response.headers.update(OPEN)
    return response


def fields_of(request: Request, body: bytes, depth_limit: int | None) -> dict[str, Any]:
    """What was sent as JSON, as a form or in the query; JSON is what else it may be."""
    media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    try:
        if media == FORMS:
            return {**request.query_params, **dict(parse_qsl(body.decode(), max_num_fields=32))}
        said = from_json(body, depth_limit) if body else {}
    except ValueError as error:
        raise invalid("the body is neither JSON nor a form") from error
    if not isinstance(said, dict):
        raise invalid("the body is not a JSON object")
    return {**request.query_params, **said}


def model_of(said: Mapping[str, Any]) -> str:
    model = said.get("model", "")
    if not isinstance(model, str):
        raise invalid("model parameter is not a name")
    return model


def texts_of(said: Mapping[str, Any]) -> list[str]:
    """One text or several, none longer than the task takes."""
    q = said.get("q")
    if q is None or q == []:
        raise invalid("missing q parameter")
    texts = q if isinstance(q, list) else [q]
    if not all(isinstance(text, str) for text in texts):
        raise invalid("q parameter is not a text or a list of them")
    within_limit(texts)
    if len(texts) > MAX_TEXTS:
        raise invalid(f"request ({len(texts)}) exceeds batch limit ({MAX_TEXTS})")
    return texts


def within_limit(texts: Sequence[str], limit: int = MAX_TEXT_CHARS) -> None:
    """Raises where one text has too many characters."""
    longest = max(map(len, texts), default=0)
    if longest > limit:
        raise invalid(f"request ({longest}) exceeds text limit ({limit})")


def _named(code: str) -> str:
    return f"{NAMES.get(code, code)} ({code})"


def _languages(said: Mapping[str, Any], known: Directions) -> tuple[str, str]:
    for name in ("source", "target"):
        if not said.get(name):
            raise invalid(f"missing {name} parameter")
        if (name, said[name]) == ("source", AUTO):
            continue
        if said[name] not in known.languages:
            raise MalformedRequest(f"{str(said[name])[:16]} is not supported")
    source, target = said["source"], said["target"]
    if source not in (AUTO, target) and not known.knows(source, target):
        raise MalformedRequest(
            f"{_named(target)} is not available as a target language from {_named(source)}"
        )
    return source, target


def _alternatives(said: Mapping[str, Any]) -> int:
    try:
        wanted = int(said.get("alternatives", 0))
    except (TypeError, ValueError) as error:
        raise invalid("alternatives parameter is not a number") from error
    if not 0 <= wanted <= MAX_ALTERNATIVES:
        raise invalid(f"alternatives parameter is not from 0 to {MAX_ALTERNATIVES}")
    return wanted


def _terms(said: Mapping[str, Any], depth_limit: int | None) -> Terms:
    """Term → what it becomes; itself where nothing is said. In a form it is JSON."""
    given = said.get("glossary")
    if given in (None, ""):
        return {}
    try:
        given = from_json(given.encode(), depth_limit) if isinstance(given, str) else given
    except ValueError as error:
        raise invalid("glossary parameter is not JSON") from error
    if not isinstance(given, dict):
        raise invalid("glossary parameter is not an object of terms")
    if len(given) > MAX_TERMS:
        raise invalid(f"glossary ({len(given)}) exceeds the limit of {MAX_TERMS} terms")
    terms = {term: term if into is None else into for term, into in given.items()}
    for both in terms.items():
        if not all(isinstance(words, str) and words.strip() == words != "" for words in both):
            raise invalid("glossary parameter holds what is no term: words, and words or null")
        if max(map(len, both)) > MAX_TERM_CHARS:
            raise invalid(f"glossary parameter has a term over {MAX_TERM_CHARS} characters")
    return terms


def asked_of(said: Mapping[str, Any], known: Directions, depth_limit: int | None) -> Asked:
    source, target = _languages(said, known)
    kind = said.get("format", "text")
    if kind not in FORMATS:
        raise MalformedRequest(f"{str(kind)[:16]} format is not supported")
    many, terms = _alternatives(said), _terms(said, depth_limit)
    return Asked(source, target, kind == "html", many, terms, model_of(said))
