"""whisper.cpp through pywhispercpp, its weights written by `ggml.py`."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from loadtests.peers.peer import GGML, SPEECH, Inputs, Job, Loaded, Peer

PACKAGES = ("pywhispercpp",)
PEERS = (
    Peer("whisper.cpp f16", "f16", (SPEECH,)),
    Peer("whisper.cpp q8_0", "q8_0", (SPEECH,)),
)


def load(job: Job) -> Loaded:
    from pywhispercpp.model import Model

    options: dict[str, Any] = {
        "n_threads": job.threads,
        "language": "en",
        "no_timestamps": True,
        "single_segment": True,
        "temperature_inc": 0.0,  # no second try at another temperature
        "greedy": {"best_of": 1},
        "suppress_nst": True,
    }
    model = Model(
        str(job.folder / GGML.format(job.variant)),
        redirect_whispercpp_logs_to=None,
        print_progress=False,
        **options,
    )

    def run(inputs: Inputs) -> NDArray[Any]:
        # It takes one recording at a time.
        found = (model.transcribe(samples) for samples in inputs["samples"])
        return np.array([" ".join(each.text.strip() for each in segments) for segments in found])

    return Loaded(run, {name: str(value) for name, value in options.items()})
