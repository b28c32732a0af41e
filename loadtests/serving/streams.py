"""a request, a door → its text as it comes, and at last the reply that it gets without a stream."""

import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any

import grpc
from google.protobuf.json_format import MessageToDict
from google.protobuf.message_factory import GetMessageClass

from loadtests.door import Door
from loadtests.scenarios import SERVICE, Scenario
from loadtests.serving.calls import (
    HTTP_FAULTS,
    PROBLEM,
    TIMEOUT_S,
    Caller,
    Kind,
    Reply,
    of_fault,
    of_grpc,
    of_http,
)
from service.pb.proto import STREAM

MEDIA = "text/event-stream"
Event = dict[str, Any] | Reply
"""A partial text as JSON has it; the last one is the reply."""


async def events(caller: Caller, door: Door, one: Scenario) -> AsyncGenerator[Event]:
    """Ask; who closes the generator before its end leaves the service."""
    asked = _rest(caller, one) if door is Door.REST else _grpc(caller, one)
    async with aclosing(asked):
        async for event in asked:
            yield event


async def _rest(caller: Caller, one: Scenario) -> AsyncGenerator[Event]:
    try:
        async with caller.post(one, {"Accept": MEDIA}) as got:
            if got.content_type != MEDIA:
                yield of_http(got.status, got.content_type, await got.read())
                return
            name = b""
            async for line in got.content:
                field, _, value = line.strip().partition(b": ")
                if field == b"event":
                    name = value
                elif field == b"data":
                    told = json.loads(value)
                    if name == b"partial":
                        yield told
                        continue
                    status = 200 if name == b"answer" else told["status"]
                    yield of_http(status, PROBLEM, value)
                    return
        yield Reply(Kind.LOST, detail="the events end without an answer")
    except HTTP_FAULTS as error:
        yield of_fault(error)


async def _grpc(caller: Caller, one: Scenario) -> AsyncGenerator[Event]:
    method = SERVICE.methods_by_name[one.method.rpartition("/")[2] + STREAM]
    reply = GetMessageClass(method.output_type)
    ask: Any = caller.channel.unary_stream(
        one.method + STREAM, response_deserializer=reply.FromString
    )
    call = ask(one.message, timeout=TIMEOUT_S)
    try:
        async for event in call:
            told = MessageToDict(event, always_print_fields_with_no_presence=True)
            yield told["partial"] if "partial" in told else Reply(Kind.ANSWERED, told["answer"])
    except grpc.aio.AioRpcError as error:
        yield of_grpc(error.code(), error.details() or "")
    finally:
        call.cancel()


def differing(partials: Sequence[dict[str, Any]], answer: dict[str, Any]) -> str:
    """How the texts that came differ from those of the answer; empty if they do not."""
    texts = answer.get("translations") or [answer]
    came = [""] * len(texts)
    for each in partials:
        index = each.get("index", 0)
        came[index] = each["text"] if each.get("replaces") else came[index] + each["text"]
    wanted = [each["text"] for each in texts]
    return "" if came == wanted else f"{came} came and {wanted} is the answer"
