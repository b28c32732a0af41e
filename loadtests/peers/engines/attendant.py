"""Attendant: a model folder's graphs, run as the service runs them."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from loadtests.peers.peer import ATTENDANT, TRANSLATION, Inputs, Job, Loaded, NotHere, Peer

if TYPE_CHECKING:
    from service.session import Model, Runner

PACKAGES = ("onnxruntime", "onnxruntime-ep-openvino")
PEERS = tuple(
    Peer(f"Attendant {label}", variant, kinds, "develop")
    for label, variant, kinds in (
        ("fp32", "float32", (TRANSLATION,)),
        ("int8", "int8", (TRANSLATION,)),
    )
)
"""The variant is a folder below `attendant/` of the work, or anywhere."""


def greedy(model: "Runner", inputs: Inputs, facts: Mapping[str, Any]) -> NDArray[np.int64]:
    """Translate into exactly as many tokens as asked for: the end token is forbidden."""
    from service.decoder import Logits, decode

    def never_end(logits: Logits, _: list[list[int]]) -> None:
        logits[:, facts["end"]] = -np.inf

    encoded = model.run("encoder", inputs)
    found = decode(
        model,
        encoded | {"source_lengths": inputs["source_lengths"]},
        prompts=[[facts["start"]]] * len(inputs["source"]),
        end=facts["end"],
        max_new_tokens=[facts["new_tokens"]] * len(inputs["source"]),
        rule=never_end,
    )
    return np.array([hypotheses[0].tokens for hypotheses in found])


def open_folder(job: Job) -> "tuple[Model, dict[str, str]]":
    """The open graphs of the variant, and what each runs on."""
    from service import manifest as manifests
    from service.manifest import WEIGHTS
    from service.session import Model, bound, open_session, read_weights

    folder = job.folder / ATTENDANT / job.variant
    if not (folder / manifests.NAME).exists():
        raise NotHere(f"no model folder {job.variant}")
    weights = read_weights(folder / WEIGHTS)
    sessions, settings = {}, {}
    for name, entry in manifests.read(folder).graphs.items():
        settings[name] = f"{entry.provider}, {entry.precision}"
        sessions[name] = open_session(
            folder / entry.file,
            bound(weights, entry.weights),
            threads=job.threads,
            provider=entry.provider,
            precision=entry.precision,
        )
    return Model(job.variant, sessions), settings


def load(job: Job) -> Loaded:
    model, settings = open_folder(job)
    return Loaded(lambda inputs: greedy(model, inputs, job.facts), settings)
