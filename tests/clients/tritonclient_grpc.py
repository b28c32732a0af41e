"""tritonclient.grpc 2.73 against a service: unary calls, a stream, errors, and our copy of fields.

Arguments: HTTP port, gRPC port, folder of examples.
"""

import asyncio
import queue
import sys
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import tritonclient.grpc as triton
from tritonclient.grpc import aio
from tritonclient.utils import InferenceServerException

examples = Path(sys.argv[3])
address = f"127.0.0.1:{sys.argv[2]}"
client = triton.InferenceServerClient(address)


def refused(call: Any, *arguments: Any, **named: Any) -> tuple[str, str]:
    try:
        call(*arguments, **named)
    except InferenceServerException as error:
        return error.status().removeprefix("StatusCode."), error.message()
    raise AssertionError(f"{call} was not refused")


def tensor(name: str, values: Any, datatype: str) -> triton.InferInput:
    made = triton.InferInput(name, list(values.shape), datatype)
    made.set_data_from_numpy(values)
    return made


assert client.is_server_live()
assert client.is_server_ready()
assert client.is_model_ready("translation")
assert not client.is_model_ready("translation", "none")
assert client.get_server_metadata().name == "attendant"
raw = client.get_model_metadata("image-classification.model", as_json=True)
assert raw["inputs"] == [
    {"name": "pixels", "datatype": "FP32", "shape": ["-1", "3", "32", "32"]}
]  # fmt: skip
config = client.get_model_config("image-classification.model").config
assert list(config.input[0].dims) == [3, 32, 32]
assert config.max_batch_size > 1
index = {entry.name: entry for entry in client.get_model_repository_index().models}
assert index["translation"].state == "READY"

texts = tensor("text", np.array([b"Where is the library?"], dtype=object), "BYTES")
named = {"source": "en", "target": "de"}
for packing in (None, "gzip", "deflate"):
    answer = client.infer(
        "translation", [texts], parameters=named, request_id="7", compression_algorithm=packing
    )
    assert answer.as_numpy("text").tolist() == [b"Wo ist die Bibliothek?"]
    assert answer.get_response().id == "7"
wanted = [triton.InferRequestedOutput("score")]
answer = client.infer("translation", [texts], outputs=wanted, parameters=named)
assert [output.name for output in answer.get_response().outputs] == ["score"]

best = client.infer(
    "audio-classification",
    [tensor("audio", np.array([(examples / "yes.flac").read_bytes()], dtype=object), "BYTES")],
    outputs=[triton.InferRequestedOutput("score", class_count=2)],
).as_numpy("score")
assert best.shape == (1, 2)
assert best[0, 0].startswith(b"0.") or best[0, 0].startswith(b"1."), best

pixels = np.random.default_rng(0).standard_normal((8, 3, 32, 32)).astype(np.float32)
many = client.infer("image-classification.model", [tensor("pixels", pixels, "FP32")])
assert many.as_numpy("logits").shape == (8, 10)
counted = client.get_inference_statistics("image-classification.model").model_stats[0]
assert counted.inference_count >= 8
assert counted.inference_stats.compute_infer.ns > 0

answers: queue.Queue[Any] = queue.Queue()
done: queue.Queue[Any] = queue.Queue()
client.async_infer(
    "image-classification.model",
    [tensor("pixels", pixels, "FP32")],
    callback=lambda result, error: done.put((result, error)),
)
result, error = done.get(timeout=30)
assert error is None
assert np.abs(result.as_numpy("logits") - many.as_numpy("logits")).max() < 1e-3

client.start_stream(lambda result, error: answers.put((result, error)))
for n in range(40):
    one = tensor("pixels", pixels[n % 8 : n % 8 + 1], "FP32")
    client.async_stream_infer("image-classification.model", [one], request_id=str(n))
keyword = np.array([(examples / "yes.flac").read_bytes()], dtype=object)
client.async_stream_infer(
    "audio-classification", [tensor("audio", keyword, "BYTES")], request_id="keyword"
)
client.async_stream_infer("none", [texts], request_id="none")
client.async_stream_infer("translation", [texts], request_id="last", parameters=named)
for n in range(40):
    result, error = answers.get(timeout=30)
    assert error is None, error
    assert result.get_response().id == str(n)
    assert result.get_response().parameters["triton_final_response"].bool_param
    assert np.abs(result.as_numpy("logits") - many.as_numpy("logits")[n % 8]).max() < 1e-3
result, error = answers.get(timeout=30)
assert error is None, error
assert result.get_response().id == "keyword"
assert result.as_numpy("label")[0, 0] == b"yes"
result, error = answers.get(timeout=30)
assert "no model 'none'" in error.message()
result, error = answers.get(timeout=30)
assert result.as_numpy("text").tolist() == [b"Wo ist die Bibliothek?"]
client.stop_stream()

strict = triton.InferenceServerClient(address)
strict.start_stream(
    lambda result, error: answers.put((result, error)), headers={"triton_grpc_error": "true"}
)
strict.async_stream_infer("none", [texts])
result, error = answers.get(timeout=30)
assert error.status() == "StatusCode.NOT_FOUND", error
strict.stop_stream()

assert refused(client.infer, "none", [texts])[0] == "NOT_FOUND"
assert refused(client.infer, "translation", [texts], model_version="9")[0] == "NOT_FOUND"
assert refused(client.infer, "translation", [texts])[0] == "INVALID_ARGUMENT"
late = refused(client.infer, "translation", [texts], parameters=named, timeout=1)
assert late[0] in ("DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED"), late
late = refused(client.infer, "translation", [texts], parameters=named, client_timeout=0.0001)
assert late[0] == "DEADLINE_EXCEEDED"
assert refused(client.load_model, "translation")[0] == "PERMISSION_DENIED"
assert refused(client.load_model, "x", config="{}", files={"file:1/m": b"x"})[0] == (
    "INVALID_ARGUMENT"
)
assert refused(client.unload_model, "translation")[0] == "PERMISSION_DENIED"
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
    assert refused(call, *arguments)[0] == "UNIMPLEMENTED", call
half = triton.InferInput("pixels", [8, 3, 32, 32], "BF16")
half.set_data_from_numpy(pixels.astype(ml_dtypes.bfloat16))
given = client.infer("image-classification.model", [half]).as_numpy("logits")
assert np.abs(given - many.as_numpy("logits")).max() < 0.5
failed = client.get_inference_statistics("translation").model_stats[0].inference_stats.fail
assert failed.count > 0
assert failed.ns > 0
client.close()


async def at_once() -> None:
    async with aio.InferenceServerClient(address) as other:
        one = aio.InferInput("pixels", [8, 3, 32, 32], "FP32")
        one.set_data_from_numpy(pixels)
        answer = await other.infer("image-classification.model", [one])
        assert answer.as_numpy("logits").shape == (8, 10)

        async def asked() -> Any:
            for n in range(3):
                yield {
                    "model_name": "image-classification.model",
                    "inputs": [one],
                    "request_id": str(n),
                }

        said = [result.get_response().id async for result, _ in other.stream_infer(asked())]
        assert said == ["0", "1", "2"]


asyncio.run(at_once())
