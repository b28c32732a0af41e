"""the gRPC door ← random bytes, random and changed messages, no time at all, calls taken back."""

from collections import deque
from contextlib import suppress
from typing import Any

import grpc
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from loadtests.scenarios import SERVICE, scenario
from loadtests.serving.calls import Code
from loadtests.serving.fuzz.findings import Findings
from loadtests.serving.fuzz.generate import each
from loadtests.serving.fuzz.mutations import mutated
from service.pb.proto import STREAM
from service.tasks import Task

TIMEOUT_S = 120.0
HUGE_BYTES = 33 * 2**20
"""Over the service's limit of a message."""
MANNERS = ("wait",) * 12 + ("no time", "1 ms", "cancel")
ALWAYS = {
    Code.OK, Code.INVALID_ARGUMENT, Code.NOT_FOUND, Code.RESOURCE_EXHAUSTED, Code.UNIMPLEMENTED,
}  # fmt: skip
ALLOWED = {
    "wait": ALWAYS,
    "no time": {*ALWAYS, Code.DEADLINE_EXCEEDED},
    "1 ms": {*ALWAYS, Code.DEADLINE_EXCEEDED},
    "cancel": {*ALWAYS, Code.CANCELLED},
}
LIMITS_S = {"no time": 0.0, "1 ms": 0.001}


def value(field: Any, example: Message) -> SearchStrategy[Any]:
    """Anything that the field can hold."""
    kind = FieldDescriptor
    whole = {
        kind.TYPE_STRING: st.text(max_size=60) | st.sampled_from(("en", "de", "fr", "I read.")),
        kind.TYPE_BYTES: st.binary(max_size=300),
        kind.TYPE_BOOL: st.booleans(),
        kind.TYPE_DOUBLE: st.floats(),
        kind.TYPE_FLOAT: st.floats(width=32),
        kind.TYPE_INT32: st.integers(-(2**31), 2**31 - 1),
        kind.TYPE_INT64: st.integers(-(2**63), 2**63 - 1),
        kind.TYPE_UINT32: st.integers(0, 2**32 - 1),
        kind.TYPE_UINT64: st.integers(0, 2**64 - 1),
    }.get(field.type)
    told = getattr(example, field.name)
    if whole is None:
        return st.just(told)
    if field.is_repeated:
        return st.lists(whole, max_size=5) | st.just(list(told))
    return whole | st.just(told)


def messages(task: Task) -> SearchStrategy[bytes]:
    """Bytes for a method: a message of random values, a changed example, or no message at all."""
    wire = GetMessageClass(SERVICE.methods_by_name[task.rpc].input_type)
    encoded = scenario(task).message
    example = wire.FromString(encoded)
    fields = {field.name: value(field, example) for field in wire.DESCRIPTOR.fields}
    random = st.fixed_dictionaries({}, optional=fields).map(
        lambda values: bytes(wire(**values).SerializeToString())
    )
    return st.one_of(st.just(encoded), random, mutated([encoded]), st.binary(max_size=400))


def by_messages(address: str, tasks: list[Task], number: int, into: Findings, *, seed: int) -> None:
    """Calls of every method, and of one that there is not."""
    paths = {
        f"/{SERVICE.full_name}/{task.rpc}{more}": task
        for task in tasks
        for more in (("", STREAM) if task.generation else ("",))
    }
    made = st.one_of(
        *(st.tuples(st.just(path), messages(task), st.sampled_from(MANNERS))
          for path, task in paths.items()),
    )  # fmt: skip
    with grpc.insecure_channel(address) as channel:

        def send(example: Any) -> None:
            path, raw, manner = example
            limit_s = LIMITS_S.get(manner, TIMEOUT_S)
            if path.endswith(STREAM):
                call: Any = channel.unary_stream(path)(raw, timeout=limit_s)
            else:
                call = channel.unary_unary(path).future(raw, timeout=limit_s)
            if manner == "cancel":
                call.cancel()
            if path.endswith(STREAM):
                with suppress(grpc.RpcError):
                    deque(call, maxlen=0)
            code = Code.CANCELLED if call.cancelled() else call.code()
            into.count(code.name)
            if code not in ALLOWED[manner]:
                why = "" if call.cancelled() else call.details()
                into.miss(f"{code.name} {why} for {path} ({manner}) {raw[:200]!r}", raw)

        for path in (*paths, f"/{SERVICE.full_name}/Nothing"):
            send((path, b"\x0a" + b"\xff" * HUGE_BYTES, "wait"))
            send((path, b"", "wait"))
        each(made, number - into.sent, send, seeded=seed)
