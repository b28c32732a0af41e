"""Every way to send a wrong request of the Open Inference Protocol → 400 that names the fault."""

import asyncio
import gzip
import json
import struct
import zlib
from collections.abc import Callable
from typing import Any

import httpx
import numpy as np
import pytest
from fake_doors import Doors, with_doors

HEADER = "inference-header-content-length"
INFER = "/v2/models/image-classification.model/infer"
PIXELS: dict[str, Any] = {"name": "pixels", "datatype": "FP32", "shape": [1, 3, 32, 32]}
COUNT = 3 * 32 * 32
FLAT = [0.5] * COUNT
RAW = np.full(COUNT, 0.5, "<f4").tobytes()


def inputs(*given: dict[str, Any], **members: Any) -> bytes:
    return json.dumps({"inputs": list(given), **members}).encode()


def pixels(**changes: Any) -> bytes:
    return inputs({**PIXELS, "data": FLAT, **changes})


def nested(depth: int) -> str:
    return "[" * depth + "0.5" + "]" * depth


def shouted(**changes: Any) -> dict[str, Any]:
    text = {"name": "text", "datatype": "BYTES", "shape": [1], "data": ["a"], **changes}
    return {key: value for key, value in text.items() if value is not None}


async def post(doors: Doors, content: bytes, path: str = INFER, **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value.encode("latin-1") for name, value in headers.items()}
    return await doors.http.post(path, content=content, headers=named)


def refused(content: bytes, *, path: str = INFER, status: int = 400, **headers: str) -> str:
    """The error of a request, after which the server still answers."""
    said = []

    async def scenario(doors: Doors) -> None:
        reply = await post(doors, content, path, **headers)
        assert reply.status_code == status, reply.text
        problem = reply.json()
        assert reply.headers["content-type"] == "application/problem+json"
        assert (problem["status"], problem["instance"]) == (status, path)
        said.append(problem["error"])
        assert (await post(doors, pixels())).status_code == 200

    with_doors(scenario)
    return str(said[0])


BODIES: dict[str, tuple[bytes, str]] = {
    "no body": (b"", "inputs.pixels: is missing"),
    "no JSON": (b"{", "not JSON"),
    "a list": (b"[]", "JSON object"),
    "nothing": (b"null", "JSON object"),
    "half a character": (b'{"id": "\\ud800"}', "not JSON"),
    "not a number": (pixels().replace(b"0.5", b"NaN"), "not JSON"),
    "200 deep": (b'{"a":' + b"[" * 300 + b"]" * 300 + b"}", "deeper than 100"),
    "101 deep": (b'{"a":' + b"[" * 100 + b"]" * 100 + b"}", "deeper than 100"),
    "inputs no list": (b'{"inputs": {}}', "inputs: is not a JSON list"),
    "an input no object": (b'{"inputs": [1]}', "inputs.0"),
    "no inputs": (inputs(), "inputs.pixels: is missing"),
    "an unknown input": (inputs({**PIXELS, "name": "image", "data": FLAT}), "takes pixels"),
    "an input twice": (
        inputs({**PIXELS, "data": FLAT}, {**PIXELS, "data": FLAT}), "inputs.pixels: is named twice"
    ),
    "a name that is none": (pixels(name=5), "inputs.0.name"),
    "no name": (inputs({"datatype": "FP32", "shape": [1], "data": [1]}), "takes pixels"),
    "another datatype": (pixels(datatype="INT64"), "is FP32, not INT64"),
    "half precision in JSON": (pixels(datatype="BF16"), "BF16 comes as binary data"),
    "no datatype": (pixels(datatype="FLOAT"), "is FP32, not FLOAT"),
    "a shape that overflows": (pixels(shape=[2**4, 2**60 + 2]), "elements; at most 8388608"),
    "a shape that overflows in its rows": (pixels(shape=[2**62, 3, 32, 32]), "elements"),
    "a negative size": (pixels(shape=[-1, 3, 32, 32]), "positive integers"),
    "a size of nothing": (pixels(shape=[0, 3, 32, 32], data=[]), "positive integers"),
    "a size of true": (pixels(shape=[True, 3, 32, 32]), "positive integers"),
    "a size in words": (pixels(shape=["1", 3, 32, 32]), "positive integers"),
    "half a size": (pixels(shape=[1.0, 3, 32, 32]), "positive integers"),
    "a shape of a thousand axes": (pixels(shape=[1] * 1000), "at most 8 axes"),
    "another shape": (pixels(shape=[1, 32, 32, 3]), "does not fit [-1, 3, 32, 32]"),
    "too few axes": (pixels(shape=[3, 32, 32]), "does not fit"),
    "too little data": (pixels(data=FLAT[1:]), "3071 elements"),
    "too much data": (pixels(data=[*FLAT, 1]), "3073 elements"),
    "no data": (inputs(PIXELS), "data is a list"),
    "data in words": (pixels(data=["a"] * COUNT), "FP32 only"),
    "data with nothing": (pixels(data=[None] * COUNT), "FP32 only"),
    "ragged data": (pixels(data=[[1, 2], [3]]), "regular nest"),
    "data of objects": (pixels(data=[{}] * COUNT), "FP32 only"),
    "a number too large": (pixels(data=[1e300] * COUNT), "beyond FP32"),
    "a whole number too large": (pixels(data=[10**400] * COUNT), "a"),
    "data 120 deep": (pixels().replace(json.dumps(FLAT).encode(), nested(120).encode()), "nest"),
    "an unknown output": (
        inputs({**PIXELS, "data": FLAT}, outputs=[{"name": "x"}]), "gives logits"
    ),
    "an output twice": (
        inputs({**PIXELS, "data": FLAT}, outputs=[{"name": "logits"}] * 2), "outputs.logits"
    ),
    "classes that are no number": (
        inputs({**PIXELS, "data": FLAT},
               outputs=[{"name": "logits", "parameters": {"classification": "3"}}]),
        "outputs.logits.classification: is a whole number",
    ),
    "fewer than no classes": (
        inputs({**PIXELS, "data": FLAT},
               outputs=[{"name": "logits", "parameters": {"classification": -1}}]),
        "outputs.logits.classification",
    ),
    "an output no object": (inputs({**PIXELS, "data": FLAT}, outputs=["logits"]), "outputs.0"),
    "an id that is none": (inputs({**PIXELS, "data": FLAT}, id=5), "id: is not a JSON str"),
    "a parameter of a list": (
        inputs({**PIXELS, "data": FLAT}, parameters={"a": []}), "parameters.a"
    ),
    "a negative timeout": (
        inputs({**PIXELS, "data": FLAT}, parameters={"timeout": -1}), "parameters.timeout"
    ),
    "a timeout of true": (
        inputs({**PIXELS, "data": FLAT}, parameters={"timeout": True}), "parameters.timeout"
    ),
    "a negative priority": (
        inputs({**PIXELS, "data": FLAT}, parameters={"priority": -1}), "parameters.priority"
    ),
    "bytes that did not come": (
        inputs({**PIXELS, "parameters": {"binary_data_size": len(RAW)}}), "binary_data_size"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BODIES)
def test_a_body_that_does_not_fit_is_refused(name: str) -> None:
    content, words = BODIES[name]
    assert words in refused(content)


SIZED = inputs({**PIXELS, "parameters": {"binary_data_size": len(RAW)}})


@pytest.mark.parametrize(
    "length", ["99999999999", "-1", "abc", "", str(len(SIZED + RAW) + 1), "1e3", "9" * 400, "²"]
)
def test_a_length_of_the_json_that_cannot_be_is_refused(length: str) -> None:
    said = refused(SIZED + RAW, inference_header_content_length=length)
    assert HEADER in said


def binary(size: Any, tail: bytes, *, shape: Any = (1, 3, 32, 32), **more: Any) -> dict[str, Any]:
    sized = {**PIXELS, "shape": list(shape), "parameters": {"binary_data_size": size}}
    head = inputs({**sized, **more})
    return {"content": head + tail, "inference_header_content_length": str(len(head))}


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (binary(len(RAW), RAW[:-1]), "more than came"),
        (binary(len(RAW) - 4, RAW[:-4]), "12284 bytes, where its shape has 12288"),
        (binary(len(RAW), RAW + b"x"), "belong to no input"),
        (binary(-1, RAW), "more than came"),
        (binary(True, RAW), "more than came"),
        (binary(1e3, RAW), "more than came"),
        (binary(2**70, RAW), "more than came"),
        (binary(len(RAW), RAW, shape=(2**40, 3, 32, 32)), "elements; at most 8388608"),
        (binary(len(RAW), RAW, data=FLAT), "not as both"),
    ],
)
def test_binary_tensors_that_do_not_fit_are_refused(request_: dict[str, Any], words: str) -> None:
    assert words in refused(**request_)


def element(text: bytes) -> bytes:
    return struct.pack("<I", len(text)) + text


@pytest.mark.parametrize("tail", [b"", RAW[:-1], RAW + RAW[:4]])
def test_a_body_without_json_that_is_no_tensor_is_refused(tail: bytes) -> None:
    said = refused(tail, inference_header_content_length="0")
    assert f"{len(tail)} bytes have no shape" in said


@pytest.mark.parametrize(
    ("raw", "shape", "words"),
    [
        (element(b"a")[:-1], [1], "within an element"),
        (element(b"a")[:3], [1], "within the length"),
        (element(b"a") + b"\x00\x00", [1], "within the length"),
        (struct.pack("<I", 2**32 - 1) + b"a", [1], "within an element"),
        (element(b"a") * 3, [2], "3 elements, where its shape has 2"),
        (element(b"a"), [2], "1 elements, where its shape has 2"),
        (b"", [1], "0 elements"),
        (element(b"\xff"), [1], "not UTF-8"),
    ],
)
def test_byte_strings_that_break_off_are_refused(raw: bytes, shape: list[int], words: str) -> None:
    one = shouted(shape=shape, data=None, parameters={"binary_data_size": len(raw)})
    head = inputs(one)
    path = "/v2/models/shout/infer"
    length = str(len(head))
    said = refused(head + raw, path=path, inference_header_content_length=length)
    assert words in said


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"data": [5]}, "are strings"),
        ({"data": ["a", "b"]}, "2 elements"),
        ({"data": "a"}, "data is a list"),
        ({"data": [["a"], [None]]}, "are strings"),
    ],
)
def test_texts_that_are_none_are_refused(changes: dict[str, Any], words: str) -> None:
    assert words in refused(inputs(shouted(**changes)), path="/v2/models/shout/infer")


def test_what_a_task_refuses_is_refused_as_on_its_own_door() -> None:
    body = inputs(shouted(), parameters={"times": 9})
    said = refused(body, path="/v2/models/shout/infer", status=422)
    assert said == "times: Input should be less than or equal to 3"
    body = inputs(shouted(), parameters={"tone": "high"})
    assert "tone" in refused(body, path="/v2/models/shout/infer", status=422)
    body = inputs(shouted(shape=[65], data=["a"] * 65))
    assert "64" in refused(body, path="/v2/models/shout/infer", status=413)


@pytest.mark.parametrize(
    ("encoding", "pack", "status"),
    [
        ("br", lambda body: body, 415),
        ("gzip", lambda body: body, 400),
        ("gzip", lambda body: gzip.compress(body)[:-9], 400),
        ("gzip", lambda body: gzip.compress(body) + b"more", 400),
        ("deflate", gzip.compress, 400),
        ("gzip", lambda body: gzip.compress(bytes(64 * 2**20)), 413),
        ("deflate", lambda body: zlib.compress(bytes(64 * 2**20)), 413),
    ],
)
def test_an_encoding_that_does_not_unpack_within_the_limit_is_refused(
    encoding: str, pack: Callable[[bytes], bytes], status: int
) -> None:
    refused(pack(pixels()), status=status, content_encoding=encoding)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v2/models/none/infer", 404),
        ("/v2/models/%20/infer", 404),
        ("/v2/models//infer", 404),
        ("/v2/models/%00/infer", 404),
        ("/v2/models/..%2f..%2fetc/infer", 404),
        ("/v2/models/shout/versions/none/infer", 404),
        ("/v2/nothing", 404),
        ("/v2/systemsharedmemory/region/a/register", 501),
        ("/v2/trace/setting", 501),
    ],
)
def test_what_is_not_there_is_said_to_be_so(path: str, status: int) -> None:
    async def scenario(doors: Doors) -> None:
        reply = await post(doors, pixels(), path)
        assert reply.status_code == status
        assert reply.json()["error"]

    with_doors(scenario)


def test_a_chunked_body_is_read_and_one_over_the_limit_is_not() -> None:
    async def scenario(doors: Doors) -> None:
        async def chunks(body: bytes) -> Any:
            for at in range(0, len(body), 1000):
                yield body[at : at + 1000]
                await asyncio.sleep(0)

        assert (await doors.http.post(INFER, content=chunks(pixels()))).status_code == 200
        limit = doors.engine.settings.max_body_bytes
        reply = await doors.http.post(INFER, content=chunks(bytes(limit + 1)))
        assert reply.status_code == 413

    with_doors(scenario)


@pytest.mark.parametrize("data", [FLAT, [[FLAT]], np.array(FLAT).reshape(3, 32, 32).tolist()])
def test_data_may_be_nested_in_any_regular_way(data: Any) -> None:
    async def scenario(doors: Doors) -> None:
        reply = await post(doors, pixels(data=data))
        assert reply.status_code == 200, reply.text

    with_doors(scenario)


def test_data_50_deep_is_read() -> None:
    async def scenario(doors: Doors) -> None:
        deep = json.dumps(FLAT).join(("[" * 50, "]" * 50)).encode()
        body = pixels().replace(json.dumps(FLAT).encode(), deep)
        assert (await post(doors, body)).status_code == 200

    with_doors(scenario)
