"""Attendant: a model folder's graphs, run as the service runs them."""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from loadtests.peers.peer import (
    ATTENDANT,
    IMAGE,
    PACKAGE,
    SPEECH,
    TRANSLATION,
    Inputs,
    Job,
    Loaded,
    NotHere,
    Peer,
    Run,
)

if TYPE_CHECKING:
    from service.session import Runner

PACKAGES = ("onnxruntime", "openvino")
PEERS = tuple(
    Peer(f"Attendant {label}", variant, kinds, "develop")
    for label, variant, kinds in (
        ("fp32", "float32", (TRANSLATION, SPEECH, IMAGE)),
        ("int8", "int8", (TRANSLATION, SPEECH, IMAGE)),
        ("openvino", "openvino", (TRANSLATION, SPEECH, IMAGE)),
    )
)
"""The variant is a folder below `attendant/` of the work, or anywhere."""


def greedy(model: "Runner", inputs: Inputs, facts: Mapping[str, Any]) -> NDArray[np.int64]:
    """Translate into exactly as many tokens as asked for: the end token is forbidden."""
    from service.decoder import decode
    from service.search import Logits, Search

    def never_end(logits: Logits, _: list[list[int]]) -> None:
        logits[:, facts["end"]] = -np.inf

    encoded = model.run("encoder", inputs) | {"source_lengths": inputs["source_lengths"]}
    search = Search(
        prompt=[facts["start"]],
        end=facts["end"],
        max_new_tokens=facts["new_tokens"],
        rule=never_end,
    )
    found = decode(model, encoded, [search] * len(inputs["source"]))
    return np.array([hypotheses[0].tokens for hypotheses in found])


def transcriber(assets: Any, *, threads: int) -> "Callable[[Runner, Inputs], NDArray[Any]]":
    """Samples → texts: the service's task, features made by as many threads as it may use."""
    from service.log_mel import RATE_HZ, log_mel
    from service.tasks import automatic_speech_recognition as task

    request = task.Request(audio=b"-")
    prompt = np.array(task.prompt_of(request, assets))
    pool = ThreadPoolExecutor(threads)

    def item(samples: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
        end_s = np.array(len(samples) / RATE_HZ)
        features = log_mel(samples)
        return {"features": features, "prompt": prompt, "start_s": np.array(0.0), "end_s": end_s}

    def run(model: "Runner", inputs: Inputs) -> NDArray[Any]:
        items = list(pool.map(item, inputs["samples"]))
        rows = task.forward(model, assets, items)
        pairs = zip(items, rows, strict=True)
        return np.array([task.postprocess(request, assets, [i], [r]).text for i, r in pairs])

    return run


def load(job: Job) -> Loaded:
    from loadtests.peers.lowered import opened
    from service import manifest as manifests
    from service.int8 import INT8
    from service.tasks import automatic_speech_recognition as speech

    folder = job.folder / ATTENDANT / job.variant
    if not (folder / manifests.NAME).exists():
        raise NotHere(f"no model folder {job.variant}")
    model = opened(folder, threads=job.threads)
    manifest = manifests.read(folder)
    settings = {"folder": folder.name, "cache_dtype": manifest.cache_dtype}
    for name, entry in manifest.graphs.items():
        matrices = "int8 matrices, " if any(INT8 in each for each in entry.weights) else ""
        settings[name] = f"{entry.provider}, {matrices}{entry.precision}"
    runs: dict[str, Callable[[], Run]] = {
        TRANSLATION: lambda: lambda inputs: greedy(model, inputs, job.facts),
        SPEECH: lambda: partial(
            transcriber(speech.load_assets(job.folder / PACKAGE), threads=job.threads), model
        ),
        IMAGE: lambda: lambda inputs: model.run("model", inputs)["logits"],
    }
    return Loaded(runs[job.kind](), settings)
