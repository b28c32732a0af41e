"""An engine for the race that answers at once, or goes wrong as its variant says."""

import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loadtests.peers.peer import Inputs, Job, Loaded, NotHere, Peer

PACKAGES = ("numpy", "no-such-package")
PEERS = tuple(
    Peer(variant, variant, ("translation",), "develop", "fake_engine")
    for variant in ("good", "wrong", "misshapen", "absent", "folderless", "broken", "late", "dead")
)


class Engine:
    """Doubles its tokens, and writes down when it ran."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.calls = 0

    def __call__(self, inputs: Inputs) -> NDArray[Any]:
        began_s = time.monotonic()
        self.calls += 1
        if self.calls > 3:  # after the warm-up of the two sizes
            if self.job.variant == "late":
                time.sleep(6)
            if self.job.variant == "dead":
                os._exit(1)
        print("libraries print what they like")
        time.sleep(0.002)
        note = {"name": self.job.variant, "size": len(inputs["source"]), "began_s": began_s}
        with (self.job.folder / "turns.jsonl").open("a") as file:
            file.write(json.dumps(note | {"ended_s": time.monotonic()}) + "\n")
        if self.job.variant == "misshapen":
            return np.zeros(3)
        wrong: NDArray[Any] = 2 * inputs["source"] + (self.job.variant == "wrong")
        return wrong


def load(job: Job) -> Loaded:
    if job.variant == "absent":
        import no_such_engine  # noqa: F401
    if job.variant == "folderless":
        raise NotHere("no model folder")
    if job.variant == "broken":
        raise RuntimeError("cannot load")
    assert Path(job.folder).is_absolute()
    return Loaded(Engine(job), {"threads": str(job.threads)})
