"""OpenVINO's own API on the default export, with a compiled model for each batch size."""

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loadtests.peers.peer import DEFAULT_ONNX, IMAGE, Inputs, Job, Loaded, Peer

PACKAGES = ("openvino",)
PEERS = (
    Peer("OpenVINO latency", "LATENCY", (IMAGE,)),
    Peer("OpenVINO throughput", "THROUGHPUT", (IMAGE,)),
)
IN_FLIGHT = 8
"""Batches handed over at once where throughput is wanted."""


def load(job: Job) -> Loaded:
    import openvino as ov

    core = ov.Core()
    # Where the processor multiplies in bfloat16 OpenVINO does so by itself.
    settings = {"PERFORMANCE_HINT": job.variant, "INFERENCE_NUM_THREADS": str(job.threads)}

    @cache
    def compiled(shape: tuple[int, ...]) -> Any:
        model = core.read_model(job.folder / DEFAULT_ONNX)
        model.reshape(ov.PartialShape(list(shape)))
        return core.compile_model(model, "CPU", settings)

    def one(inputs: Inputs) -> NDArray[Any]:
        logits: NDArray[Any] = compiled(inputs["pixels"].shape)(inputs["pixels"])[0]
        return np.array(logits)

    @cache
    def queue(shape: tuple[int, ...]) -> tuple[Any, dict[int, NDArray[Any]]]:
        waiting = ov.AsyncInferQueue(compiled(shape))
        logits: dict[int, NDArray[Any]] = {}

        def keep(request: Any, number: int) -> None:
            logits[number] = np.array(request.get_output_tensor().data)

        waiting.set_callback(keep)
        return waiting, logits

    def many(inputs: Inputs) -> NDArray[Any]:
        waiting, logits = queue(inputs["pixels"].shape)
        for number in range(IN_FLIGHT):
            waiting.start_async({0: inputs["pixels"]}, number)
        waiting.wait_all()
        return logits[0]

    if job.variant == "LATENCY":
        return Loaded(one, settings)
    return Loaded(many, {**settings, "batches in flight": str(IN_FLIGHT)}, batches=IN_FLIGHT)
