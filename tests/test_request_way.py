"""One engine behind both doors: the same question gets the same answer, and both share batches."""

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import pytest
from fake_models import in_memory

from service.continuous import Continuous
from service.engine import Engine
from service.gate import Gate
from service.http import TaskDoor, pages
from service.pb import attendant_pb2, attendant_pb2_grpc
from service.rpc import RpcServer
from service.settings import Settings
from service.tasks import task

TRANSLATION = task("translation")
REQUESTS: list[dict[str, Any]] = [
    {"text": ["I read the book here."], "source": "en", "target": "de", "max_new_tokens": 9},
    {"text": ["We see. I read!", "here"], "source": "en", "target": "fr", "max_new_tokens": 5},
    {"text": ["Häuser."], "source": "de", "target": "en", "beam_size": 3, "max_new_tokens": 6},
    {"text": ["Je lis."], "source": "fr", "target": "en", "max_new_tokens": 20},
]


class Doors:
    """The worker's two doors, and a client of each."""

    def __init__(self, engine: Engine, http: httpx.AsyncClient, channel: grpc.aio.Channel) -> None:
        self.engine, self.http = engine, http
        self.stub = attendant_pb2_grpc.AttendantStub(channel)  # type: ignore[no-untyped-call]

    async def over_http(self, fields: dict[str, Any]) -> list[tuple[str, float, int]]:
        reply = await self.http.post("/translation", json=fields)
        assert reply.status_code == 200, reply.text
        return [(t["text"], t["score"], t["tokens"]) for t in reply.json()["translations"]]

    async def over_grpc(self, fields: dict[str, Any]) -> list[tuple[str, float, int]]:
        reply = await self.stub.Translate(attendant_pb2.TranslateRequest(**fields))
        return [(t.text, t.score, t.tokens) for t in reply.translations]


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[Doors]:
    engine = Engine([TRANSLATION], Settings(threads=1))
    await engine.load(TRANSLATION, folder)
    assert set(engine.status().values()) == {"ready"}
    server = RpcServer(engine, "127.0.0.1:0", engine.settings.max_body_bytes)
    await server.start()
    transport = httpx.ASGITransport(TaskDoor(engine, Gate(), pages(engine)))
    async with (
        httpx.AsyncClient(transport=transport, base_url="http://worker") as http,
        grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel,
    ):
        try:
            yield Doors(engine, http, channel)
        finally:
            await server.stop(grace_s=1)
            await engine.close()


def with_doors(folder: Path, scenario: Callable[[Doors], Awaitable[None]]) -> None:
    async def run() -> None:
        async with asyncio.timeout(60), opened(folder) as doors:
            await scenario(doors)

    asyncio.run(run())


def same(one: list[tuple[str, float, int]], other: list[tuple[str, float, int]]) -> None:
    assert [(text, tokens) for text, _, tokens in one] == [(text, n) for text, _, n in other]
    assert [score for _, score, _ in one] == pytest.approx([s for _, s, _ in other], abs=1e-4)


def test_both_doors_give_the_same_answer(tiny_translation: Path) -> None:
    async def scenario(doors: Doors) -> None:
        for fields in REQUESTS:
            one, other = await doors.over_http(fields), await doors.over_grpc(fields)
            same(one, other)
            assert len(one) == len(fields["text"])

    with_doors(tiny_translation, scenario)


def test_both_doors_refuse_alike(tiny_translation: Path) -> None:
    async def scenario(doors: Doors) -> None:
        for change, field in [
            ({"text": ["a", " "]}, "text.1"),
            ({"target": "xx"}, "target"),
            ({"beam_size": 9}, "beam_size"),
        ]:
            fields = {**REQUESTS[0], **change}
            refused = (await doors.http.post("/translation", json=fields)).json()
            assert refused["field"] == field
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await doors.over_grpc(fields)
            assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
            assert caught.value.details() == f"{field}: {refused['detail']}"

    with_doors(tiny_translation, scenario)


def test_requests_of_both_doors_share_batches_and_keep_their_answers(
    tiny_translation: Path,
) -> None:
    async def scenario(doors: Doors) -> None:
        alone = [await doors.over_http(fields) for fields in REQUESTS]
        lane = in_memory(doors.engine, "translation").lane
        assert isinstance(lane, Continuous)
        right, batches = lane.generation, []

        def counted(model: Any, inputs: Any) -> Any:
            batches.append(len(inputs))
            return right.encode(model, inputs)

        lane.generation = replace(right, encode=counted)
        turns = 3
        calls = [
            door(fields)
            for _ in range(turns)
            for fields in REQUESTS
            for door in (doors.over_http, doors.over_grpc)
        ]
        answers = await asyncio.gather(*calls)
        for index, answer in enumerate(answers):
            same(answer, alone[index // 2 % len(REQUESTS)])
        sentences = 2 * turns * (1 + 3 + 1 + 1)
        assert sum(batches) == sentences
        assert len(batches) < len(calls)

    with_doors(tiny_translation, scenario)


def test_a_bad_request_among_good_ones_fails_alone(tiny_translation: Path) -> None:
    async def scenario(doors: Doors) -> None:
        bad = doors.http.post("/translation", json={**REQUESTS[0], "target": "xx"})
        refused, *answers = await asyncio.gather(
            bad, *(doors.over_grpc(fields) for fields in REQUESTS)
        )
        assert refused.status_code == 422
        for fields, answer in zip(REQUESTS, answers, strict=True):
            same(answer, await doors.over_http(fields))

    with_doors(tiny_translation, scenario)


def test_a_drained_worker_refuses_at_both_doors(tiny_translation: Path) -> None:
    async def scenario(doors: Doors) -> None:
        await doors.engine.close()
        reply = await doors.http.post("/translation", json=REQUESTS[0])
        assert reply.status_code == 503
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await doors.over_grpc(REQUESTS[0])
        assert caught.value.code() == grpc.StatusCode.UNAVAILABLE

    with_doors(tiny_translation, scenario)


def test_both_doors_tell_where_a_translation_attended(tiny_translation: Path) -> None:
    async def scenario(doors: Doors) -> None:
        for fields in REQUESTS:
            plain = await doors.over_http(fields)
            asked = {**fields, "explain": True}
            same(plain, await doors.over_http(asked))
            reply = (await doors.http.post("/translation", json=asked)).json()
            message = await doors.stub.Translate(attendant_pb2.TranslateRequest(**asked))
            assert len(reply["attention"]) == len(message.attention)
            assert {each["index"] for each in reply["attention"]} == set(range(len(plain)))
            for one, other in zip(reply["attention"], message.attention, strict=True):
                layers, heads, target, source = one["axes"]
                assert [axis.name for axis in other.axes] == ["layer", "head", "target", "source"]
                assert (layers["size"], heads["size"]) == (2, 2)
                assert list(other.axes[2].labels) == target["labels"]
                assert source["labels"][-1] == "</s>"
                shape = [axis["size"] for axis in one["axes"]]
                weights = np.array(one["weights"]).reshape(shape)
                assert weights.sum(-1) == pytest.approx(np.ones(shape[:-1]), abs=1e-3)
                assert list(other.weights) == pytest.approx(one["weights"], abs=1e-4)
            tokens = [0] * len(plain)
            for each in reply["attention"]:
                tokens[each["index"]] += each["axes"][2]["size"]
            assert tokens == [count for _, _, count in plain]

    with_doors(tiny_translation, scenario)


def test_an_answer_without_explain_has_no_attention(tiny_translation: Path) -> None:
    async def scenario(doors: Doors) -> None:
        reply = await doors.http.post("/translation", json=REQUESTS[0])
        assert "attention" not in reply.json()
        message = await doors.stub.Translate(attendant_pb2.TranslateRequest(**REQUESTS[0]))
        assert not message.attention

    with_doors(tiny_translation, scenario)


def test_both_doors_refuse_alike_what_cannot_be_explained(
    tiny_translation: Path, tmp_path: Path
) -> None:
    async def refused(doors: Doors, text: list[str]) -> str:
        asked = {**REQUESTS[0], "text": text, "explain": True}
        reply = await doors.http.post("/translation", json=asked)
        assert (reply.status_code, reply.json()["field"]) == (422, "explain")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await doors.stub.Translate(attendant_pb2.TranslateRequest(**asked))
        assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
        assert caught.value.details() == f"explain: {reply.json()['detail']}"
        return str(reply.json()["detail"])

    async def too_much(doors: Doors) -> None:
        assert "at most 16" in await refused(doors, ["I read."] * 17)

    async def cannot(doors: Doors) -> None:
        assert "exported without" in await refused(doors, ["I read."])
        assert await doors.over_http(REQUESTS[0])

    with_doors(tiny_translation, too_much)
    bare = Path(shutil.copytree(tiny_translation, tmp_path / "bare"))
    manifest = json.loads((bare / "manifest.json").read_text())
    del manifest["graphs"]["attention"], manifest["files"]["attention.onnx"]
    (bare / "attention.onnx").unlink()
    (bare / "manifest.json").write_text(json.dumps(manifest))
    with_doors(bare, cannot)
