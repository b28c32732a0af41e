"""The Open Inference Protocol shares engine, gate, deadlines and metrics with our own doors."""

import asyncio
import json
from typing import Any

import grpc
import numpy as np
import pytest
from fake_doors import Doors, with_doors

from service.access import ADMIN, granted
from service.compat.oip.pb import open_inference_pb2 as pb
from service.errors import Problem

INFER = "/v2/models/image-classification.model/infer"
SHOUT = "/v2/models/shout/infer"
PIXELS = np.arange(3 * 32 * 32, dtype="<f4").reshape(1, 3, 32, 32) / 3072


def shouted(**members: Any) -> dict[str, Any]:
    text = {"name": "text", "datatype": "BYTES", "shape": [2], "data": ["a", "ü"]}
    return {"inputs": [text], **members}


def message(**changes: Any) -> pb.ModelInferRequest:
    pixels = {"name": "pixels", "datatype": "FP32", "shape": PIXELS.shape}
    fields = {
        "model_name": "image-classification.model",
        "inputs": [pixels],
        "raw_input_contents": [PIXELS.tobytes()],
        **changes,
    }
    return pb.ModelInferRequest(**fields)


async def rpc(doors: Doors, method: str, request: Any, reply: Any, **options: Any) -> Any:
    path = f"/inference.GRPCInferenceService/{method}"
    return await doors.channel.unary_unary(path, response_deserializer=reply.FromString)(
        request if isinstance(request, bytes) else request.SerializeToString(), **options
    )


async def refusal(doors: Doors, method: str, request: Any) -> tuple[Any, str]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await rpc(doors, method, request, pb.ModelInferResponse)
    return caught.value.code(), caught.value.details() or ""


def test_a_whole_task_gives_an_entry_for_each_of_its_texts() -> None:
    async def scenario(doors: Doors) -> None:
        asked = shouted(id="seven", parameters={"times": 2})
        answer = (await doors.http.post(SHOUT, json=asked)).json()
        assert answer == {
            "model_name": "shout",
            "model_version": "7",
            "id": "seven",
            "outputs": [
                {"name": "text", "datatype": "BYTES", "shape": [2], "data": ["A!!", "Ü!!"]},
                {"name": "length", "datatype": "INT32", "shape": [2], "data": [3, 3]},
            ],
        }
        metadata = (await doors.http.get("/v2/models/weigh-thing")).json()
        assert metadata["inputs"] == [{"name": "thing", "datatype": "BYTES", "shape": [-1]}]
        assert [one["name"] for one in metadata["outputs"]] == ["weight", "unit"]

    with_doors(scenario)


def test_raw_tensors_of_both_transports_share_batches_and_agree() -> None:
    async def scenario(doors: Doors) -> None:
        asked = {
            "inputs": [
                {"name": "pixels", "datatype": "FP32", "shape": list(PIXELS.shape),
                 "data": PIXELS.ravel().tolist()}
            ]
        }  # fmt: skip
        calls = [doors.http.post(INFER, json=asked) for _ in range(8)]
        more = [rpc(doors, "ModelInfer", message(), pb.ModelInferResponse) for _ in range(8)]
        answers = await asyncio.gather(*calls, *more)
        wanted = np.frombuffer(answers[-1].raw_output_contents[0], "<f4")
        for answer in answers[:8]:
            assert answer.json()["outputs"][0]["data"] == pytest.approx(wanted.tolist())
        for answer in answers[8:]:
            assert answer.raw_output_contents[0] == wanted.tobytes()
        assert sum(doors.lamp.batches) == 16
        assert len(doors.lamp.batches) < 16

    with_doors(scenario)


def test_a_late_answer_and_a_closed_gate_are_refused_as_on_our_own_door() -> None:
    async def scenario(doors: Doors) -> None:
        late = await doors.http.post(SHOUT, json=shouted(parameters={"timeout": 1}))
        assert late.status_code in (429, 504)
        late = await doors.http.post(SHOUT, json=shouted(), headers={"grpc-timeout": "soon"})
        assert (late.status_code, late.json()["field"]) == (400, "grpc-timeout")
        doors.gate.closed = True
        refused = await doors.http.post(SHOUT, json=shouted())
        assert (refused.status_code, refused.headers["connection"]) == (503, "close")
        assert refused.headers["retry-after"] == "1"
        assert (await doors.http.get("/v2/health/live")).status_code == 200
        doors.engine.begin_drain()
        assert (await doors.http.get("/v2/health/ready")).status_code == 503
        ready = await rpc(doors, "ServerReady", pb.ServerReadyRequest(), pb.ServerReadyResponse)
        assert not ready.ready

    with_doors(scenario)


def test_requests_are_counted_by_task_and_surface() -> None:
    async def scenario(doors: Doors) -> None:
        async def count(code: str) -> float:
            text = (await doors.http.get("/metrics")).text
            labels = f'code="{code}",door="oip",model="shout",task="shout"'
            line = f"attendant_requests_total{{{labels}}} "
            return next(float(row[len(line) :]) for row in text.splitlines() if line in row)

        await doors.http.post(SHOUT, json=shouted())
        before = await count("ok"), await count("invalid_argument")
        await doors.http.post(SHOUT, json=shouted())
        await doors.http.post(SHOUT, json={})
        await doors.http.post("/v2/models/none/infer", json={})
        assert (await count("ok"), await count("invalid_argument")) == (
            before[0] + 1,
            before[1] + 1,
        )

    with_doors(scenario)


def test_models_are_loaded_and_unloaded_by_those_who_administer_only() -> None:
    path = "/v2/repository/models/shout"

    async def forbidden(doors: Doors) -> None:
        assert (await doors.http.post(f"{path}/unload", json={})).status_code == 403
        assert (await doors.http.post(SHOUT, json=shouted())).status_code == 200

    async def allowed(doors: Doors) -> None:
        granted.set(frozenset({ADMIN}))
        said = {"parameters": {"unload_dependents": False}}
        assert (await doors.http.post(f"{path}/unload", json=said)).status_code == 200
        assert (await doors.http.post(SHOUT, json=shouted())).status_code == 503
        index = (await doors.http.post("/v2/repository/index")).json()
        states = {one["name"]: one["state"] for one in index}
        assert (states["shout"], states["weigh-thing"]) == ("UNAVAILABLE", "READY")
        ready = (await doors.http.post("/v2/repository/index", json={"ready": True})).json()
        assert "shout" not in {one["name"] for one in ready}
        for parameter in ("file:1/model.onnx", "config"):
            said = {"parameters": {parameter: "eA=="}}
            assert (await doors.http.post(f"{path}/load", json=said)).status_code == 400
        assert (await doors.http.post(f"{path}/load")).status_code == 503  # not in the store
        none = "/v2/repository/models/none/load"
        assert (await doors.http.post(none, content=b"")).status_code == 404

    with_doors(forbidden)
    with_doors(allowed)


FLOATS = [0.5] * (3 * 32 * 32)
PIXELS_OF = {"name": "pixels", "datatype": "FP32", "shape": PIXELS.shape}


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (b"\xff\xff", "the message is not a ModelInferRequest"),
        (message(raw_input_contents=[]), "0 elements"),
        (message(raw_input_contents=[b"a", b"b"]), "2 raw tensors for 1 inputs"),
        (message(raw_input_contents=[b"abc"]), "3 bytes"),
        (message(inputs=[]), "1 raw tensors for 0 inputs"),
        (message(inputs=[], raw_input_contents=[]), "inputs.pixels: is missing"),
        (message(inputs=[{**PIXELS_OF, "shape": [-1, 3, 32, 32]}]), "positive integers"),
        (message(inputs=[{**PIXELS_OF, "shape": [2**62, 3, 32, 32]}]), "elements; at most"),
        (message(inputs=[{**PIXELS_OF, "datatype": "FP64"}]), "is FP32, not FP64"),
        (message(inputs=[{**PIXELS_OF, "datatype": "FP16"}]), "12288 bytes, where its shape has"),
        (message(inputs=[{**PIXELS_OF, "contents": {"fp32_contents": [1.0]}}]), "not as both"),
        (
            message(
                inputs=[{**PIXELS_OF, "contents": {"int_contents": [1]}}], raw_input_contents=[]
            ),
            "int_contents is not for FP32",
        ),
        (message(outputs=[{"name": "none"}]), "gives logits"),
        (message(outputs=[{"name": "logits"}] * 2), "named twice"),
        (message(parameters={"a": {}}), "parameters.a: has no value"),
        (message(parameters={"timeout": {"int64_param": -1}}), "parameters.timeout"),
    ],
)
def test_a_message_that_does_not_fit_is_refused(request_: Any, words: str) -> None:
    async def scenario(doors: Doors) -> None:
        code, details = await refusal(doors, "ModelInfer", request_)
        assert code == grpc.StatusCode.INVALID_ARGUMENT, details
        assert words in details
        await rpc(doors, "ModelInfer", message(), pb.ModelInferResponse)

    with_doors(scenario)


def test_contents_are_as_good_as_raw_tensors() -> None:
    async def scenario(doors: Doors) -> None:
        contents = {**PIXELS_OF, "contents": {"fp32_contents": PIXELS.ravel().tolist()}}
        typed = message(inputs=[contents], raw_input_contents=[])
        one = await rpc(doors, "ModelInfer", typed, pb.ModelInferResponse)
        other = await rpc(doors, "ModelInfer", message(), pb.ModelInferResponse)
        assert one.raw_output_contents == other.raw_output_contents

    with_doors(scenario)


def test_an_unexpected_error_tells_nothing_of_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(doors: Doors) -> None:
        async def broken(*_: Any, **__: Any) -> Any:
            raise RuntimeError("the secret of the house")

        monkeypatch.setattr(doors.engine, "rows", broken)
        code, details = await refusal(doors, "ModelInfer", message())
        assert code == Problem.code
        body = json.dumps({"inputs": [{**PIXELS_OF, "data": FLOATS}]})
        reply = await doors.http.post(INFER, content=body)
        assert reply.status_code == 500
        assert "secret" not in details + reply.text

    with_doors(scenario)
