"""the REST door ← what schemathesis makes of openapi.json, what Hypothesis makes of fields."""

import json
import re
from collections.abc import Mapping
from typing import Any

import schemathesis
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from pydantic import BaseModel
from requests import RequestException, Session
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from urllib3.filepost import encode_multipart_formdata

from loadtests.serving.calls import PROBLEM
from loadtests.serving.fuzz.findings import Findings
from loadtests.serving.fuzz.generate import each
from loadtests.serving.fuzz.mutations import mutated
from service.tasks import Task

TIMEOUT_S = 120.0
HONEST = (503, 504)
"""Of 5xx these may come, as problem+json: not served now, and out of time."""
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
NONSENSE: SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=40),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=8,
)  # fmt: skip
PROBLEM_EVENT = re.compile(rb"^event: problem\ndata: (.*)$", re.MULTILINE)
MEDIA = (
    "application/json", "application/json; charset=utf-16", "text/plain", "", "audio/wav",
    "multipart/form-data", "multipart/form-data; boundary=x", "application/octet-stream",
    "application/x-www-form-urlencoded",
)  # fmt: skip


def judge(status: int, content_type: str, body: bytes, request: bytes, into: Findings) -> None:
    into.count(str(status))
    if status in HONEST and content_type.startswith(PROBLEM):
        return
    if status >= 500:
        said = body[:200].decode(errors="replace")
        into.miss(f"{status} {said} for {request[:200]!r}", request)


def by_schema(url: str, number: int, into: Findings, *, seed: int) -> None:
    """What the document allows and what it forbids, each answer held against the document too."""
    with Session() as session:
        document = session.get(f"{url}/openapi.json", timeout=TIMEOUT_S).json()
    schema = schemathesis.openapi.from_dict(document)
    operations: Any = schema.get_all_operations()
    cases = [
        operation.ok().as_strategy(generation_mode=mode)
        for operation in operations
        for mode in schemathesis.GenerationMode
    ]

    def send(case: Any) -> None:
        try:
            response = case.call(base_url=url, timeout=TIMEOUT_S)
        except RequestException as error:
            into.count(type(error).__name__)
            into.miss(f"{error!r} for {case!r}", repr(case).encode())
            return
        request = case.as_curl_command().encode(errors="replace")
        kind = response.headers.get("content-type", [""])[0]
        judge(response.status_code, kind, response.content, request, into)
        if response.status_code in HONEST:
            return
        try:
            case.validate_response(response, checks=CHECKS)
        except FailureGroup as fault:
            into.miss("; ".join(map(str, fault.exceptions)), request)
        except AssertionError as fault:
            into.miss(str(fault), request)

    each(st.one_of(cases), number, send, seeded=seed)


def values_of(name: str, example: BaseModel) -> SearchStrategy[Any]:
    """The example's value of a field, or anything else."""
    told = getattr(example, name, None)
    wild = NONSENSE | st.sampled_from(("", " ", "\x00", "a" * 5_000, -1, 0, 1e308, 2**64, "NaN"))
    if isinstance(told, bytes):
        return st.just(told) | mutated([told]) | st.binary(max_size=300)
    if isinstance(told, BaseModel):
        told = told.model_dump(mode="json")
    return st.just(told) | wild


def forms(example: BaseModel) -> SearchStrategy[tuple[bytes, str]]:
    """A multipart form of the fields, or of others."""

    def encode(values: Mapping[str, Any], boundary: str) -> tuple[bytes, str]:
        parts: dict[str, Any] = {
            name: (name, value) if isinstance(value, bytes) else json.dumps(value)
            for name, value in values.items()
        }
        return encode_multipart_formdata(parts, boundary=boundary)

    fields = {name: values_of(name, example) for name in type(example).model_fields}
    told = example.model_fields_set
    optional = {name: value for name, value in fields.items() if name not in told}
    required = {name: value for name, value in fields.items() if name not in optional}
    whole = st.fixed_dictionaries(required, optional=optional)
    return st.builds(encode, whole, st.sampled_from(("x", "a b", "----9")))


def bodies(task: Task) -> SearchStrategy[tuple[bytes, str]]:
    """Body and content type."""
    example = task.example()
    fields = {name: values_of(name, example) for name in type(example).model_fields}
    text = (
        [json.dumps(example.model_dump(mode="json", exclude_unset=True)).encode()]
        if not any(isinstance(value, bytes) for value in example.model_dump().values())
        else []
    )
    raw = [value for value in example.model_dump().values() if isinstance(value, bytes)]
    json_like = st.fixed_dictionaries({}, optional=fields) if not raw else NONSENSE
    written = json_like.map(lambda value: (json.dumps(value).encode(), MEDIA[0]))
    broken = st.tuples(mutated(text or raw) | st.binary(max_size=400), st.sampled_from(MEDIA))
    of_form = forms(example)
    bent = st.builds(
        lambda form, seed: (mutated([form[0]]), form[1], seed), of_form, st.integers()
    ).flatmap(lambda each: st.tuples(each[0], st.just(each[1])))
    return st.one_of(written, broken, of_form, bent)


def by_fields(url: str, tasks: list[Task], number: int, into: Findings, *, seed: int) -> None:
    """Bodies of every task, in every media type, whole and broken."""
    made = st.one_of(
        *(st.tuples(st.just(task.name), bodies(task), st.sampled_from(("", "?top_k=x", "?a=%00")))
          for task in tasks)
    )  # fmt: skip
    with Session() as session:

        def send(example: Any) -> None:
            name, (body, media), query = example
            # As many as there are queries want the text as it comes.
            accept = "text/event-stream, */*" if query else "*/*"
            headers = {"Accept": accept} | ({"Content-Type": media} if media else {})
            try:
                response = session.post(
                    f"{url}/{name}{query}", data=body, headers=headers, timeout=TIMEOUT_S
                )
            except RequestException as error:
                into.count(type(error).__name__)
                into.miss(f"{error!r} for {name} {media} {body[:200]!r}", body)
                return
            kind, status = response.headers.get("content-type", ""), response.status_code
            if problem := PROBLEM_EVENT.search(response.content):
                kind, status = PROBLEM, json.loads(problem[1])["status"]
            request = f"{name}{query} {media}\n".encode() + body
            judge(status, kind, response.content, request, into)

        each(made, number, send, seeded=seed)
