"""orders as JSON lines → one engine's times and outputs, in the engine's own environment.

`python -m loadtests.peers.worker '{"engine": ..., "folder": ..., "variant": ..., "threads": ...}'`
"""

import json
import os
import sys
import traceback
from collections.abc import Mapping
from importlib import metadata
from math import inf
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from loadtests.peers.engines import engine
from loadtests.peers.peer import INPUTS, JOB, Inputs, Job, Loaded, NotHere

WARM_CALLS = 5


def versions(packages: tuple[str, ...]) -> dict[str, str]:
    """The versions of those that are installed."""
    found = {}
    for name in packages:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def turn(loaded: Loaded, inputs: Inputs, at_least_s: float) -> list[float]:
    """Run for at least that long, once at least; returns the seconds of one batch in each call."""
    times: list[float] = []
    began_s = perf_counter()
    while not times or perf_counter() - began_s < at_least_s:
        start_s = perf_counter()
        loaded.run(inputs)
        times.append((perf_counter() - start_s) / loaded.batches)
    return times


def warm(loaded: Loaded, inputs: Inputs) -> Any:
    """Run until that takes no less time than before: some compile a shape when they meet it, and
    again when they meet it once more. Returns the output."""
    before_s = inf
    for _ in range(WARM_CALLS):
        start_s = perf_counter()
        output = loaded.run(inputs)
        took_s = perf_counter() - start_s
        if took_s > before_s / 2:
            break
        before_s = took_s
    return output


def answer(loaded: Loaded, inputs: Inputs, order: Mapping[str, Any]) -> dict[str, Any]:
    rows = {name: array[: order["size"]] for name, array in inputs.items()}
    if "output" in order:
        np.save(order["output"], warm(loaded, rows))
        return {"warm": True}
    return {"times_s": turn(loaded, rows, order["at_least_s"])}


def main() -> None:
    # What libraries print goes to stderr; stdout carries answers alone.
    replies = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)

    def say(reply: Mapping[str, Any]) -> None:
        replies.write(json.dumps(reply) + "\n")

    what = json.loads(sys.argv[1])
    folder = Path(what["folder"])
    try:
        facts = json.loads((folder / JOB).read_text())
        chosen = engine(what["engine"])
        job = Job(facts["kind"], folder, what["variant"], what["threads"], facts)
        with np.load(folder / INPUTS) as file:
            inputs = dict(file)
        loaded = chosen.load(job)
        say({"settings": dict(loaded.settings), "versions": versions(chosen.packages)})
        for line in sys.stdin:
            say(answer(loaded, inputs, json.loads(line)))
    except (ImportError, NotHere) as missing:
        say({"skipped": str(missing)})
    except Exception as error:
        traceback.print_exc()
        say({"failed": f"{type(error).__name__}: {error}"})


if __name__ == "__main__":
    main()
