"""the APIs of other servers, and live speech ← their own requests, cut, flipped, packed, random."""

import asyncio
import gzip
import json
import zlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import aiohttp
import grpc
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from requests import RequestException, Session

from loadtests.serving.calls import PROBLEM, Code
from loadtests.serving.fuzz.findings import Findings
from loadtests.serving.fuzz.generate import each
from loadtests.serving.fuzz.http import NONSENSE, judge
from loadtests.serving.fuzz.mutations import mutated
from loadtests.serving.fuzz.rpc import ALWAYS
from loadtests.serving.surfaces import INFER, WAYS, Way, parted
from service.tasks import Task

TIMEOUT_S = 120.0
UNSUPPORTED = 501
"""What the Open Inference Protocol has and this service leaves out."""
LENGTH = "Inference-Header-Content-Length"
PACKED: Mapping[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "br": bytes,
    "": bytes,
}
LENGTHS = ("-1", "0", "99999999999", "x", "1e3")
STREAM = "/inference.GRPCInferenceService/ModelStreamInfer"
LIVE = "/attendant.v1.Attendant/{}Live"
CODES = {*ALWAYS, Code.NOT_FOUND, Code.PERMISSION_DENIED, Code.UNAVAILABLE}


def ways(tasks: list[Task]) -> list[Way]:
    names = {task.name for task in tasks}
    return [way for way in WAYS if way.task in names]


def by_surfaces(url: str, tasks: list[Task], number: int, into: Findings, *, seed: int) -> None:
    """Every surface's request with its body changed, in any encoding, of any length told."""
    seeds = [parted(way) for way in ways(tasks) if not way.method]
    bodies = [body for _, _, body in seeds]
    body: SearchStrategy[bytes] = st.one_of(
        mutated(bodies),
        st.sampled_from(bodies),
        NONSENSE.map(lambda value: json.dumps(value).encode()),
        st.binary(max_size=300),
        st.integers(1, 300).map(lambda deep: b"[" * deep + b"]" * deep),
    )
    made = st.tuples(
        st.sampled_from(seeds), body, st.sampled_from(sorted(PACKED)), st.booleans(),
        st.sampled_from(("", "", "", *LENGTHS)),
    )  # fmt: skip
    with Session() as session:

        def send(example: Any) -> None:
            (path, headers, _), content, encoding, truly, length = example
            headers = headers | ({"Content-Encoding": encoding} if encoding else {})
            headers = headers | ({LENGTH: length} if length else {})
            data = PACKED[encoding](content) if truly else content
            try:
                reply = session.post(url + path, data=data, headers=headers, timeout=TIMEOUT_S)
            except RequestException as error:
                into.count(type(error).__name__)
                into.miss(f"{error!r} for {path}", data)
                return
            kind = reply.headers.get("content-type", "")
            if reply.status_code == UNSUPPORTED and kind.startswith(PROBLEM):
                into.count(str(UNSUPPORTED))
                return
            judge(reply.status_code, kind, reply.content, f"{path}\n".encode() + data, into)

        each(made, number, send, seeded=seed)


def by_streams(address: str, tasks: list[Task], number: int, into: Findings, *, seed: int) -> None:
    """Messages of the Open Inference Protocol, one by one and as streams, and of live speech."""
    seeds = [way.request for way in ways(tasks) if way.method == INFER] or [b""]
    raw = st.one_of(st.sampled_from(seeds), mutated(seeds), st.binary(max_size=300))
    live = [LIVE.format(task.rpc) for task in tasks if task.live]
    made = st.tuples(st.sampled_from((INFER, STREAM, *live)), st.lists(raw, max_size=4))
    with grpc.insecure_channel(address) as channel:

        def send(example: Any) -> None:
            path, messages = example
            if path == INFER:
                first = messages[0] if messages else b""
                unary: Any = channel.unary_unary(path)
                call: Any = unary.future(first, timeout=TIMEOUT_S)
            else:
                call = channel.stream_stream(path)(iter(messages), timeout=TIMEOUT_S)
                with suppress(grpc.RpcError):
                    for _ in call:
                        pass
            code = call.code()
            into.count(code.name)
            if code not in CODES:
                into.miss(f"{code.name} {call.details()} for {path}", b"".join(messages))

        each(made, number, send, seeded=seed)


async def _listened(url: str, messages: list[bytes | str]) -> tuple[dict[str, Any], int | None]:
    """The last event of a socket, and what closed it."""
    last: dict[str, Any] = {}
    async with aiohttp.ClientSession() as session, session.ws_connect(url) as socket:
        with suppress(ConnectionError):
            for message in messages:
                if isinstance(message, str):
                    await socket.send_str(message)
                else:
                    await socket.send_bytes(message)
            await socket.send_str('{"type": "end"}')
        async for event in socket:
            last = json.loads(event.data)
        return last, socket.close_code


def by_sockets(url: str, tasks: list[Task], number: int, into: Findings, *, seed: int) -> None:
    """Sockets of live speech: samples, texts and both, with any query."""
    queries = ("", "?rate_hz=8000", "?rate_hz=-1", "?rate_hz=x", "?language=%00", "?a=b")
    texts = st.sampled_from(("", "{}", "[" * 900, "a" * 2_000, '{"type": 5}'))
    samples = st.binary(max_size=2_000) | st.integers(0, 2**16).map(
        lambda many: (b"\x00\x40\x00\xc0" * many)[: 2 * many]
    )
    sent = st.lists(st.one_of(samples, samples, texts), max_size=4)
    paths = [f"/{task.name}/live{query}" for task in tasks if task.live for query in queries]
    made = st.tuples(st.sampled_from(paths), sent)

    def send(example: Any) -> None:
        path, messages = example
        try:
            last, code = asyncio.run(asyncio.wait_for(_listened(url + path, messages), TIMEOUT_S))
        except (aiohttp.ClientError, TimeoutError) as error:
            into.count(type(error).__name__)
            into.miss(f"{error!r} for {path}", repr(messages).encode())
            return
        said = str(last.get("status", last.get("type", "nothing")))
        into.count(said)
        if said in ("500", "nothing") or code == 1011:
            into.miss(f"{last} and {code} for {path}", repr(messages).encode())

    each(made, number, send, seeded=seed)
