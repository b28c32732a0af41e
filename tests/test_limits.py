"""What is over a limit is refused with its field and the limit; off it is only where so set."""

import gzip
import json
import sys
from pathlib import Path
from typing import Any

import grpc
import pytest
from fake_doors import Doors, with_doors

from service.json_body import depth
from service.settings import Settings

DOCS = Path(__file__).parents[1] / "docs"
INFER = "/v2/models/shout/infer"
TEXT = {"name": "text", "datatype": "BYTES", "shape": [1], "data": ["a"]}


def test_the_page_has_every_limit_as_the_code_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(DOCS))
    import limits

    text = limits.PAGE.read_text(encoding="utf-8")
    assert limits.with_table(text) == text, "run make readme"
    sys.modules.pop("limits")


@pytest.mark.parametrize(
    ("content", "deep"),
    [
        (b"1", 0),
        (b"[]", 1),
        (b'{"a": [[1], {"b": []}]}', 4),
        (b'"[[[["', 0),
        (rb'["\"[[[[", "\\", [1]]', 2),
        (b"]]]][", 0),
        (b"[" * 5000, 5000),
    ],
)
def test_depth_counts_brackets_outside_of_strings(content: bytes, deep: int) -> None:
    assert depth(content) == deep


def nested(deep: int) -> bytes:
    return b'{"text": ' + b"[" * (deep - 1) + b"]" * (deep - 1) + b"}"


JSON = {"content-type": "application/json"}


@pytest.mark.parametrize("path", ["/shout", INFER, "/translate"])
def test_json_is_nested_up_to_the_limit(path: str) -> None:
    async def scenario(doors: Doors) -> None:
        over = await doors.http.post(path, content=nested(101), headers=JSON)
        assert over.status_code == 400
        if path != "/translate":
            assert over.json()["detail"] == "the JSON is nested deeper than 100"
            assert over.json()["field"] == "body"
        at = await doors.http.post(path, content=nested(100), headers=JSON)
        assert "deeper" not in at.text

    with_doors(scenario)


def packed(body: bytes) -> dict[str, Any]:
    return {"content": gzip.compress(body), "headers": {**JSON, "content-encoding": "gzip"}}


@pytest.mark.parametrize("path", ["/shout", INFER, "/translate", "/models/image-classification"])
def test_a_packed_body_is_limited_before_and_after_it_is_unpacked(path: str) -> None:
    async def scenario(doors: Doors) -> None:
        bomb = await doors.http.post(path, **packed(bytes(2**20)))
        assert bomb.status_code == 413
        assert "65536 bytes" in bomb.text
        large = await doors.http.post(path, content=bytes(40_000), headers=JSON)
        assert large.status_code == 413
        assert "32768 bytes" in large.text

    with_doors(scenario, Settings(threads=1, max_body_bytes=2**15, max_unpacked_bytes=2**16))


def test_a_packed_body_is_read_on_our_own_door_too() -> None:
    async def scenario(doors: Doors) -> None:
        reply = await doors.http.post("/shout", **packed(json.dumps({"text": "a"}).encode()))
        assert reply.json()["shouts"][0]["text"] == "A!"

    with_doors(scenario)


@pytest.mark.parametrize("compression", [grpc.Compression.NoCompression, grpc.Compression.Gzip])
def test_a_message_is_limited_also_when_it_comes_packed(compression: grpc.Compression) -> None:
    async def scenario(doors: Doors) -> None:
        call = doors.channel.unary_unary("/attendant.v1.Attendant/Shout")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(bytes(2**20), compression=compression)
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert await call(b"\x1a\x01a", compression=compression)  # and the server lives on

    with_doors(scenario, Settings(threads=1, max_body_bytes=2**16))


def test_elements_of_a_tensor_are_limited() -> None:
    async def scenario(doors: Doors) -> None:
        body = {"inputs": [{**TEXT, "shape": [5], "data": ["a"] * 5}]}
        refused = await doors.http.post(INFER, json=body)
        assert refused.status_code == 400
        assert refused.json()["error"] == "inputs.text.shape: 5 elements; at most 4"

    with_doors(scenario, Settings(threads=1, max_tensor_elements=4))


def test_a_limit_is_off_where_the_environment_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("body_bytes", "unpacked_bytes", "json_depth", "tensor_elements")
    assert all(getattr(Settings(), f"max_{name}") for name in names)
    for name in names:
        monkeypatch.setenv(f"ATTENDANT_MAX_{name.upper()}", "off")
    settings = Settings(threads=1)
    assert all(getattr(settings, f"max_{name}") is None for name in names)

    async def scenario(doors: Doors) -> None:
        reply = await doors.http.post("/shout", **packed(json.dumps({"text": "a"}).encode()))
        assert reply.status_code == 200
        assert "deeper than 100" not in (await doors.http.post("/shout", content=nested(150))).text
        call = doors.channel.unary_unary("/attendant.v1.Attendant/Shout")
        assert await call(b"\x1a\x01a")

    with_doors(scenario, settings)
