"""What Ray Serve is given of ours: methods, corrections, and files that name what exists."""

import asyncio
from importlib import import_module
from pathlib import Path
from typing import Any

import grpc
import pytest
import yaml
from starlette.testclient import TestClient
from starlette.types import Receive, Scope, Send

from deploy.ray.proxy import Retriable
from deploy.ray.rpc import METHODS, Call, Ended, add_to_server, answered, streamed
from service.errors import Problem
from service.http_call import problem_response
from service.tasks import task_names

FOLDER = Path(__file__).parent.parent / "deploy" / "ray"
NAMES = {name.replace("_", "-") for name in task_names()}


class Given:
    """What Ray Serve tells of a call."""

    code: grpc.StatusCode | None = None
    details, trailing = "", list[tuple[str, str]]()

    def invocation_metadata(self) -> list[tuple[str, str]]:
        return [("priority", "u=1")]

    def set_code(self, code: grpc.StatusCode) -> None:
        self.code = code

    def set_details(self, details: str) -> None:
        self.details = details

    def set_trailing_metadata(self, trailing: list[tuple[str, str]]) -> None:
        self.trailing = trailing


async def proxied(scope: Scope, receive: Receive, send: Send) -> None:
    """A proxy that has lost its replica, but for one path."""
    if scope["path"] == "/own":
        response = problem_response(Problem("the service failed on this request"), "/own")
        await response(scope, receive, send)


def test_a_lost_replica_is_503_over_http_and_a_fault_of_ours_stays_500() -> None:
    client = TestClient(Retriable(proxied))
    response = client.get("/lost")
    assert response.status_code == 503
    assert response.headers["retry-after"] == "1"
    assert "try again" in response.json()["detail"]
    assert client.get("/own").status_code == 500


def test_a_call_ends_with_the_status_details_and_metadata_of_our_method() -> None:
    given, left = Given(), []

    async def method(_: bytes, context: Call) -> bytes:
        context.add_done_callback(left.append)
        assert context.invocation_metadata() == [("priority", "u=1")]
        await context.abort(grpc.StatusCode.NOT_FOUND, "no", (("retry-after", "1"),))
        raise AssertionError("abort raises")

    handler = grpc.unary_unary_rpc_method_handler(method)
    reply = asyncio.run(answered(handler, b"", given))
    assert reply.SerializeToString() == b""
    assert (given.code, given.details) == (grpc.StatusCode.NOT_FOUND, "no")
    assert given.trailing == [("retry-after", "1")]
    assert len(left) == 1


def test_what_a_method_writes_is_streamed_and_a_reader_that_leaves_ends_it() -> None:
    ended = []

    async def method(_: bytes, context: Call) -> None:
        try:
            for number in range(9):
                await context.write(bytes([number]))
        finally:
            ended.append(True)

    async def scenario(most: int) -> list[bytes]:
        handler = grpc.unary_stream_rpc_method_handler(method)
        found, replies = [], streamed(handler, b"", Given())
        async for reply in replies:
            found.append(reply.SerializeToString())
            if len(found) == most:
                break
        await replies.aclose()  # type: ignore[attr-defined]
        await asyncio.sleep(0)
        return found

    assert asyncio.run(scenario(99)) == [bytes([number]) for number in range(9)]
    assert asyncio.run(scenario(2)) == [b"\0", b"\1"]
    assert ended == [True, True]
    with pytest.raises(Ended):
        asyncio.run(Call(Given()).abort(grpc.StatusCode.ABORTED, ""))


class Context:
    """What the proxy sets of a call."""

    def __init__(self, details: str) -> None:
        self.set, self.said = grpc.StatusCode.INTERNAL, details
        self.trailing: Any = ()

    def code(self) -> grpc.StatusCode:
        return self.set

    def details(self) -> str:
        return self.said

    def trailing_metadata(self) -> Any:
        return self.trailing

    def set_code(self, code: grpc.StatusCode) -> None:
        self.set = code

    def set_details(self, details: str) -> None:
        self.said = details

    def set_trailing_metadata(self, trailing: Any) -> None:
        self.trailing = trailing


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ("The actor 0c1a is unavailable: The actor is temporarily unavailable", "UNAVAILABLE"),
        ("The actor died unexpectedly before finishing this task", "UNAVAILABLE"),
        ("the service failed on this request", "INTERNAL"),
    ],
)
def test_a_lost_replica_is_unavailable_over_grpc_and_a_fault_of_ours_internal(
    said: str, code: str
) -> None:
    added: list[Any] = []

    class Server:
        def add_generic_rpc_handlers(self, handlers: Any) -> None:
            added.extend(handlers)

    add_to_server(None, Server())
    methods = {name: method for each in added for name, method in each._method_handlers.items()}
    assert len(methods) == len(METHODS)

    async def proxied(request: Any, context: Any) -> bytes:
        return b""

    same = dict.fromkeys(("unary_unary", "unary_stream", "stream_stream"), proxied)
    method = methods["/attendant.v1.Attendant/Translate"]._replace(**same)
    context = Context(said)
    asyncio.run(method.unary_unary(b"", context))
    assert context.set is grpc.StatusCode[code]
    assert bool(context.trailing) == (code == "UNAVAILABLE")


@pytest.mark.parametrize("name", ["serve.yaml", "per-task.yaml"])
def test_the_applications_name_what_exists(name: str) -> None:
    described = yaml.safe_load((FOLDER / name).read_text())
    for function in described["grpc_options"]["grpc_servicer_functions"]:
        module, _, attribute = function.rpartition(".")
        assert callable(getattr(import_module(module), attribute))
    for application in described["applications"]:
        assert application["import_path"] == "deploy.ray.app:attendant"
        assert set(application.get("args", {}).get("tasks", [])) <= NAMES
        assert application["route_prefix"].removeprefix("/") in {"", *NAMES}


def test_every_task_has_replicas_of_its_own() -> None:
    applications = yaml.safe_load((FOLDER / "per-task.yaml").read_text())["applications"]
    served = [each["args"]["tasks"] for each in applications if "args" in each]
    assert sorted(served) == sorted([name] for name in NAMES)
    assert len({each["name"] for each in applications}) == len(applications)
