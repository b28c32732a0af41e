"""Triton's extensions of the protocol: classes, half precision, bodies without JSON, statistics."""

from typing import Any

import numpy as np
import pytest
from fake_doors import CLASSES, Doors, with_doors

INFER = "/v2/models/image-classification.model/infer"
SHOUT = "/v2/models/shout/infer"
PIXELS = np.stack([np.full((3, 32, 32), 0.5, "<f4"), np.full((3, 32, 32), -2, "<f4")])
TEXT = {"name": "text", "datatype": "BYTES", "shape": [1], "data": ["a"]}
RAW = {"inference-header-content-length": "0"}


async def logits(doors: Doors, datatype: str, raw: bytes, **members: Any) -> Any:
    tensor = {"name": "pixels", "datatype": datatype, "shape": PIXELS.shape,
              "parameters": {"binary_data_size": len(raw)}}  # fmt: skip
    head = doors.http.build_request("POST", INFER, json={"inputs": [tensor], **members}).content
    length = {"inference-header-content-length": str(len(head))}
    reply = await doors.http.post(INFER, content=head + raw, headers=length)
    assert reply.status_code == 200, reply.text
    return reply.json()["outputs"][0]


def test_the_best_classes_come_with_their_names() -> None:
    async def scenario(doors: Doors) -> None:
        wanted = [{"name": "logits", "parameters": {"classification": 2}}]
        found = await logits(doors, "FP32", PIXELS.tobytes(), outputs=wanted)
        assert (found["datatype"], found["shape"]) == ("BYTES", [2, 2])
        assert found["data"] == [
            "0.500000:1:light", "0.500000:2:red", "2.000000:0:dark", "-2.000000:1:light",
        ]  # fmt: skip
        wanted[0]["parameters"] = {"classification": 99}
        found = await logits(doors, "FP32", PIXELS.tobytes(), outputs=wanted)
        assert found["shape"] == [2, len(CLASSES)]

    with_doors(scenario)


def test_what_holds_no_scores_has_no_classes() -> None:
    async def scenario(doors: Doors) -> None:
        for name in ("text", "length"):
            wanted = [{"name": name, "parameters": {"classification": 1}}]
            reply = await doors.http.post(SHOUT, json={"inputs": [TEXT], "outputs": wanted})
            assert reply.status_code == 400
            assert "holds no scores" in reply.json()["error"]

    with_doors(scenario)


@pytest.mark.parametrize(
    ("datatype", "raw"),
    [
        ("FP16", PIXELS.astype("<f2").tobytes()),
        ("BF16", (PIXELS.view("<u4") >> 16).astype("<u2").tobytes()),
    ],
)
def test_half_precision_is_widened(datatype: str, raw: bytes) -> None:
    async def scenario(doors: Doors) -> None:
        found = await logits(doors, datatype, raw)
        assert found == await logits(doors, "FP32", PIXELS.tobytes())

    with_doors(scenario)


def test_a_body_without_json_is_the_one_input() -> None:
    async def scenario(doors: Doors) -> None:
        reply = await doors.http.post(INFER, content=PIXELS.tobytes(), headers=RAW)
        assert reply.status_code == 200, reply.text
        head = int(reply.headers["inference-header-content-length"])
        assert np.frombuffer(reply.content[head:], "<f4").reshape(2, 3)[:, 1].tolist() == [0.5, -2]
        reply = await doors.http.post(SHOUT, content=b"a whole text", headers=RAW)
        assert b"A WHOLE TEXT" in reply.content

    with_doors(scenario)


def test_statistics_tell_how_long_failures_took() -> None:
    async def scenario(doors: Doors) -> None:
        async def failed() -> dict[str, int]:
            stats = (await doors.http.get("/v2/models/shout/stats")).json()["model_stats"]
            found: dict[str, int] = stats[0]["inference_stats"]["fail"]
            return found

        before = await failed()
        wrong = {"inputs": [TEXT], "parameters": {"times": 9}}
        assert (await doors.http.post("/shout", json={"text": "b"})).status_code == 200
        await doors.http.post(SHOUT, json=wrong)
        after = await failed()
        assert after["count"] >= before["count"]
        late = {"inputs": [TEXT], "parameters": {"timeout": 1}}
        assert (await doors.http.post(SHOUT, json=late)).status_code in (429, 504)
        last = await failed()
        assert last["count"] == after["count"] + 1
        assert last["ns"] > after["ns"]

    with_doors(scenario)
