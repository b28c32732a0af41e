"""tasks → a document that names every route, field and refusal, and a page that shows it."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from fake_tasks import TASKS, HttpEngine
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator
from starlette.testclient import TestClient

from service import headers, openapi
from service.compat.doors import described
from service.http import pages
from service.tasks import tasks


@pytest.fixture
def client() -> Iterator[TestClient]:
    with TestClient(pages(HttpEngine())) as client:  # type: ignore[arg-type]
        yield client


def test_the_page_shows_the_document_from_this_host_only(client: TestClient) -> None:
    page = client.get("/docs")
    assert page.headers["content-type"].startswith("text/html")
    assert "/openapi.json" in page.text
    assert "http" not in page.text.replace("http-equiv", "")
    assert client.get("/", follow_redirects=False).headers["location"] == "/docs"


def resolved(document: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    path = schema["$ref"].removeprefix("#/").split("/")
    for key in path:
        document = document[key]
    return document


def real_document() -> dict[str, Any]:
    engine = HttpEngine()
    engine.tasks = {task.name: task for task in tasks()}
    app = pages(engine, described(engine.tasks))  # type: ignore[arg-type]
    document: dict[str, Any] = TestClient(app).get("/openapi.json").json()
    return document


def test_the_document_has_every_route_with_its_fields_and_refusals() -> None:
    document = real_document()
    assert document["openapi"].startswith("3.1")
    assert set(document["paths"]) >= {f"/{task.name}" for task in tasks()}
    for task in tasks():
        operation = document["paths"][f"/{task.name}"]["post"]
        assert operation["operationId"] == task.rpc
        content = operation["requestBody"]["content"]
        schema = next(iter(content.values()))["schema"]
        assert set(resolved(document, schema)["properties"]) == set(task.request.model_fields)
        answer = operation["responses"]["200"]["content"]["application/json"]["schema"]
        assert set(resolved(document, answer)["properties"]) == set(task.response.model_fields)
        streams = "text/event-stream" in operation["responses"]["200"]["content"]
        assert streams == (task.generation is not None)
        assert {"400", "406", "413", "415", "422", "429", "503", "504"} <= set(
            operation["responses"]
        )


def test_every_reference_of_the_document_leads_somewhere() -> None:
    document = real_document()

    def walk(node: Any) -> Iterator[dict[str, Any]]:
        if isinstance(node, dict):
            if "$ref" in node:
                yield node
            for value in node.values():
                yield from walk(value)
        elif isinstance(node, list):
            for value in node:
                yield from walk(value)

    references = list(walk(document))
    assert references
    for reference in references:
        assert resolved(document, reference)


def test_the_example_of_the_document_is_a_valid_request() -> None:
    document, by_name = real_document(), {task.name: task for task in tasks()}
    for name, task in by_name.items():
        for content in document["paths"][f"/{name}"]["post"]["requestBody"]["content"].values():
            if "example" in content:
                assert task.request.model_validate(content["example"]) == task.example()


def test_the_fields_beside_the_bytes_are_parameters_of_the_document() -> None:
    for task in tasks():
        operation = real_document()["paths"][f"/{task.name}"]["post"]
        fields = {name: field.annotation for name, field in task.request.model_fields.items()}
        if bytes in fields.values():
            beside = {name for name, kind in fields.items() if kind is not bytes}
            assert {
                one["name"] for one in operation["parameters"] if one["in"] == "query"
            } == beside


def test_every_task_of_the_fake_engine_has_a_route(client: TestClient) -> None:
    routes = {f"/{task.name}" for task in TASKS}
    assert set(client.get("/openapi.json").json()["paths"]) == routes | {"/models"}


def test_every_route_names_the_headers_that_it_obeys() -> None:
    document = openapi.document(HttpEngine().tasks)
    for name in HttpEngine().tasks:
        path = document["paths"][f"/{name}"]
        named = {one["name"]: one for one in path["post"]["parameters"] if one["in"] == "header"}
        assert headers.timeout_s(named["grpc-timeout"]["example"]) == 0.5
        assert headers.priority(named["priority"]["example"]) == 0


def test_the_document_is_valid_and_describes_every_surface() -> None:
    document = real_document()
    operations = [one for path in document["paths"].values() for one in path.values()]
    names = [one["operationId"] for one in operations]
    assert len(set(names)) == len(names)
    for path, methods in document["paths"].items():
        for operation in methods.values():
            named = {one["name"] for one in operation["parameters"] if one["in"] == "path"}
            assert named == set(re.findall("{(.*?)}", path))
    assert {"/v2/models/{model}/infer", "/models/{id}"} <= set(document["paths"])


def test_the_document_is_valid_by_the_rules_of_openapi() -> None:
    OpenAPIV31SpecValidator(real_document()).validate()


def test_every_json_body_has_an_example_that_its_schema_allows() -> None:
    document = real_document()
    bodies = {
        f"{method} {path}": operation["requestBody"]["content"]["application/json"]
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        if "application/json" in operation.get("requestBody", {}).get("content", {})
    }
    assert len(bodies) > 3
    assert [name for name, body in bodies.items() if "example" not in body] == []
    for body in bodies.values():
        whole = {**body["schema"], "components": document["components"]}
        Draft202012Validator(whole).validate(body["example"])


def test_every_operation_says_what_a_missing_key_leads_to() -> None:
    document = real_document()
    assert {"bearer", "header", "query"} == set(document["components"]["securitySchemes"])
    for methods in document["paths"].values():
        for operation in methods.values():
            assert {"401", "403"} <= set(operation["responses"])
