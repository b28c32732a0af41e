"""tritonclient.http 2.73 against a service: JSON, binary and compressed tensors, errors, the rest.

Arguments: HTTP port, gRPC port, folder of examples.
"""

import asyncio
import sys
import urllib.request
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import tritonclient.http as triton
from tritonclient.http import InferenceServerClientPlugin, aio
from tritonclient.utils import InferenceServerException

client = triton.InferenceServerClient(f"127.0.0.1:{sys.argv[1]}", concurrency=4)
examples = Path(sys.argv[3])


def refused(call: Any, *arguments: Any, **named: Any) -> tuple[str, str]:
    try:
        call(*arguments, **named)
    except InferenceServerException as error:
        return error.status(), error.message()
    raise AssertionError(f"{call} was not refused")


def tensor(name: str, values: Any, datatype: str, *, binary: bool = True) -> triton.InferInput:
    made = triton.InferInput(name, list(values.shape), datatype)
    made.set_data_from_numpy(values, binary_data=binary)
    return made


assert client.is_server_live()
assert client.is_server_ready()
assert client.is_model_ready("translation")
assert not client.is_model_ready("translation", "none")
server = client.get_server_metadata()
assert "binary_tensor_data" in server["extensions"]
raw = client.get_model_metadata("image-classification.model")
assert raw["inputs"] == [{"name": "pixels", "datatype": "FP32", "shape": [-1, 3, 32, 32]}]
assert raw["outputs"] == [{"name": "logits", "datatype": "FP32", "shape": [-1, 10]}]
version = raw["versions"][0]
assert client.get_model_metadata("image-classification.model", version) == raw
config = client.get_model_config("image-classification.model")
assert config["input"] == [{"name": "pixels", "data_type": "TYPE_FP32", "dims": [3, 32, 32]}]
index = {entry["name"]: entry for entry in client.get_model_repository_index()}
assert index["translation"]["state"] == "READY"

texts = np.array(["I like to read books.", "Where is the library?"], dtype=object)
named = {"source": "en", "target": "de"}
right = ["Ich lese gerne Bücher.", "Wo ist die Bibliothek?"]
for binary in (True, False):
    wanted = [triton.InferRequestedOutput("text", binary_data=binary)]
    for packing in (None, "gzip", "deflate"):
        answer = client.infer(
            "translation",
            [tensor("text", texts, "BYTES", binary=binary)],
            outputs=wanted,
            parameters=named,
            request_id="seven",
            request_compression_algorithm=packing,
            response_compression_algorithm=packing,
        )
        said = [text.decode() if binary else text for text in answer.as_numpy("text")]
        assert said == right, said
        assert answer.get_response()["id"] == "seven"
answer = client.infer("translation", [tensor("text", texts, "BYTES")], parameters=named)
assert [one["name"] for one in answer.get_response()["outputs"]] == [
    "text", "score", "tokens", "alternatives",
]  # fmt: skip
assert answer.as_numpy("score").dtype == np.float32

pixels = np.random.default_rng(0).standard_normal((256, 3, 32, 32)).astype(np.float32)
alone = client.infer("image-classification.model", [tensor("pixels", pixels[:1], "FP32")])
for packing in (None, "gzip", "deflate"):
    many = client.infer(
        "image-classification.model",
        [tensor("pixels", pixels, "FP32")],
        request_compression_algorithm=packing,
        response_compression_algorithm=packing,
    )
    assert many.as_numpy("logits").shape == (256, 10)
    difference = many.as_numpy("logits")[:1] - alone.as_numpy("logits")
    assert np.abs(difference).max() < 1e-3
in_json = client.infer(
    "image-classification.model",
    [tensor("pixels", pixels[:2], "FP32", binary=False)],
    outputs=[triton.InferRequestedOutput("logits", binary_data=False)],
)
assert np.abs(in_json.as_numpy("logits") - many.as_numpy("logits")[:2]).max() < 1e-3

calls = [
    client.async_infer("image-classification.model", [tensor("pixels", pixels[n : n + 1], "FP32")])
    for n in range(16)
]
found = np.concatenate([call.get_result().as_numpy("logits") for call in calls])
assert np.abs(found - many.as_numpy("logits")[:16]).max() < 1e-3

image = np.array([(examples / "cat.jpg").read_bytes()] * 2, dtype=object)
answer = client.infer(
    "image-classification", [tensor("image", image, "BYTES")], parameters={"top_k": 3}
)
assert answer.as_numpy("label")[:, 0].tolist() == [b"cat", b"cat"]
assert answer.as_numpy("score").shape == (2, 3)
best = client.infer(
    "image-classification.model",
    [tensor("pixels", pixels[:2], "FP32")],
    outputs=[triton.InferRequestedOutput("logits", class_count=3)],
).as_numpy("logits")
assert best.shape == (2, 3)
for row, logits in zip(best, many.as_numpy("logits"), strict=False):
    score, number, label = row[0].decode().split(":")
    assert (int(number), float(score)) == (logits.argmax(), np.float32(score))
    assert label in {"airplane", "bird", "cat", "deer", "dog", "frog", "ship", "truck"} | {
        "automobile", "horse",
    }  # fmt: skip
best = client.infer(
    "image-classification",
    [tensor("image", image, "BYTES")],
    outputs=[triton.InferRequestedOutput("score", class_count=1, binary_data=False)],
)
assert best.as_numpy("score")[0, 0].startswith("0."), best.as_numpy("score")

half = client.infer(
    "image-classification.model", [tensor("pixels", pixels[:2].astype(np.float16), "FP16")]
)
assert np.abs(half.as_numpy("logits") - many.as_numpy("logits")[:2]).max() < 0.1
brain = triton.InferInput("pixels", [2, 3, 32, 32], "BF16")
brain.set_data_from_numpy(pixels[:2].astype(ml_dtypes.bfloat16))
half = client.infer("image-classification.model", [brain])
assert np.abs(half.as_numpy("logits") - many.as_numpy("logits")[:2]).max() < 0.5

body, length = triton.InferenceServerClient.generate_request_body(
    [tensor("pixels", pixels[:2], "FP32")], request_id="by hand"
)


def post(path: str, content: bytes, **headers: str) -> tuple[bytes, dict[str, str]]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(f"http://127.0.0.1:{sys.argv[1]}{path}", content, named)
    with urllib.request.urlopen(request) as answer:
        return answer.read(), dict(answer.headers)


INFER = "/v2/models/image-classification.model/infer"
said, headers = post(INFER, body, inference_header_content_length=str(length))
result = triton.InferenceServerClient.parse_response_body(
    said, header_length=int(headers["inference-header-content-length"])
)
assert result.get_response()["id"] == "by hand"
assert np.abs(result.as_numpy("logits") - many.as_numpy("logits")[:2]).max() < 1e-3
for name, content in (
    ("image-classification.model", pixels[:2].tobytes()),
    ("image-classification", image[0]),
):
    said, headers = post(f"/v2/models/{name}/infer", content, inference_header_content_length="0")
    result = triton.InferenceServerClient.parse_response_body(
        said, header_length=int(headers["inference-header-content-length"])
    )
    if name.endswith("model"):
        assert np.abs(result.as_numpy("logits") - many.as_numpy("logits")[:2]).max() < 1e-3
    else:
        assert result.as_numpy("label")[0, 0] == b"cat"

recording = np.array([(examples / "speech.flac").read_bytes()], dtype=object)
answer = client.infer("automatic-speech-recognition", [tensor("audio", recording, "BYTES")])
assert answer.as_numpy("text")[0].split() == b"Good morning. Open the window, please.".split()

counted = client.get_inference_statistics("image-classification.model")["model_stats"][0]
times = counted["inference_stats"]
assert counted["inference_count"] >= 3 * 256 + 16
assert counted["execution_count"] < counted["inference_count"]
assert counted["inference_stats"]["compute_infer"]["ns"] > 0
assert (
    counted["inference_stats"]["queue"]["count"] == counted["inference_stats"]["success"]["count"]
)
stats = client.get_inference_statistics()["model_stats"]
assert {one["name"] for one in stats} == {*index}
generated = client.get_inference_statistics("translation")["model_stats"][0]["inference_stats"]
assert generated["compute_infer"]["ns"] > 0
assert generated["queue"]["ns"] > 0
parts = ("queue", "compute_input", "compute_infer", "compute_output")
assert abs(generated["success"]["ns"] - sum(generated[part]["ns"] for part in parts)) < 4

given = [tensor("text", texts, "BYTES")]
assert refused(client.infer, "none", given)[0] == "404"
assert refused(client.infer, "translation", given, model_version="9")[0] == "404"
assert refused(client.infer, "translation", given) == ("422", "source: Field required")
assert refused(client.infer, "translation", [tensor("words", texts, "BYTES")])[0] == "400"
status, message = refused(client.infer, "translation", given, parameters=named, timeout=1)
assert status in ("429", "504"), message
assert refused(client.load_model, "translation")[0] == "403"
assert refused(client.load_model, "x", config="{}", files={"file:1/m": b"x"})[0] == "400"
assert refused(client.unload_model, "translation")[0] == "403"
failed = client.get_inference_statistics("translation")["model_stats"][0]["inference_stats"]["fail"]
assert failed["count"] > 0
assert failed["ns"] > 0
for call, *arguments in (
    (client.get_trace_settings,),
    (client.update_trace_settings, None, {"trace_level": "OFF"}),
    (client.get_log_settings,),
    (client.update_log_settings, {"log_info": True}),
    (client.get_system_shared_memory_status,),
    (client.register_system_shared_memory, "a", "/a", 8),
    (client.unregister_system_shared_memory,),
    (client.get_cuda_shared_memory_status,),
    (client.unregister_cuda_shared_memory,),
):
    assert refused(call, *arguments)[0] == "501", call


class Named(InferenceServerClientPlugin):
    """Adds a header, as plugins do that sign requests."""

    def __call__(self, request: Any) -> None:
        request.headers["grpc-timeout"] = "soon"


client.register_plugin(Named())
assert refused(client.infer, "translation", given, parameters=named)[0] == "400"
client.unregister_plugin()
client.infer("translation", given, parameters=named)
client.close()


async def at_once() -> None:
    async with aio.InferenceServerClient(f"127.0.0.1:{sys.argv[1]}") as other:
        one = aio.InferInput("pixels", [1, 3, 32, 32], "FP32")
        one.set_data_from_numpy(pixels[:1])
        answers = await asyncio.gather(
            *(other.infer("image-classification.model", [one]) for _ in range(8))
        )
        assert all(answer.as_numpy("logits").shape == (1, 10) for answer in answers)


asyncio.run(at_once())
