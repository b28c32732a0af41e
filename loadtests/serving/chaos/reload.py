"""a newer version in the store, SIGHUP while requests keep arriving → none fails or mixes two."""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from loadtests.serving.attendant import QUIET, Attendant
from loadtests.serving.calls import Caller, Reply
from loadtests.serving.chaos.faults import VICTIM, WEIGHTS, weights_of
from loadtests.serving.goldens import Golden, recorded, same
from loadtests.serving.open_load import Sample, offer, poisson
from loadtests.serving.verdict import Row, judged

BEFORE_S, AFTER_S = 3.0, 8.0
"""Load before the signal, and from then on."""
MANIFEST = "manifest.json"
INSTALL = "import sys, pathlib; from service import store; store.install(pathlib.Path(sys.argv[1]))"


def newer(home: Path, into: Path) -> None:
    """Put a version of the victim in a store whose matrices are turned upside down."""
    shutil.copytree(weights_of(home, VICTIM).parent, into)
    weights = load_file(into / WEIGHTS)
    turned = {
        name: np.ascontiguousarray(array[::-1]) if array.ndim == 2 else array
        for name, array in weights.items()
    }
    save_file(turned, into / WEIGHTS)
    manifest = json.loads((into / MANIFEST).read_text())
    manifest["files"][WEIGHTS] = sha256((into / WEIGHTS).read_bytes()).hexdigest()
    (into / MANIFEST).write_text(json.dumps(manifest))
    variables = {**os.environ, **QUIET, "BENTOML_HOME": str(home)}
    subprocess.run([sys.executable, "-c", INSTALL, str(into)], check=True, env=variables)


def rows_of(samples: Sequence[Sample], old: Sequence[Golden], new: Sequence[Golden]) -> list[Row]:
    """Request i was made of golden i, and so on in turns."""
    kinds = Counter(each.reply.kind for each in samples)
    failed = [each.reply.detail for each in samples if not each.answered]
    of: Counter[str] = Counter()
    for each in samples:
        if each.answered:
            at = each.index % len(old)
            named = {goldens[at].answer["model"]: goldens[at] for goldens in (old, new)}
            golden = named.get(each.reply.answer["model"])
            wholly = golden is not None and same(each.reply.answer, golden.answer)
            of["neither" if not wholly else "old" if golden is old[at] else "new"] += 1
    saw = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
    first = f"; {failed[0][:200]}" if failed else ""
    other = all(not same(a.answer, b.answer) for a, b in zip(old, new, strict=True))
    return [
        judged("hot reload: failed", f"{len(failed)} of {len(samples)} ({saw}){first}", "0",
               met=bool(samples) and not failed),
        judged("hot reload: answers wholly of one version",
               f"{of['old']} of the old, {of['new']} of the new, {of['neither']} of neither",
               "0 of neither", met=other and of["new"] > 0 and of["old"] > 0 and not of["neither"]),
    ]  # fmt: skip


async def reloaded(
    server: Attendant, caller: Caller, old: Sequence[Golden], *, rate_per_s: float, seed: int
) -> list[Row]:
    """Requests to the victim at random moments, whether or not others are answered."""

    async def send(index: int) -> Reply:
        golden = old[index % len(old)]
        return await caller.ask(golden.door, golden.scenario)

    async def renew() -> None:
        await asyncio.sleep(BEFORE_S)
        await asyncio.to_thread(newer, server.home, server.home.parent / "newer")
        server.process.send_signal(signal.SIGHUP)

    moments = poisson(rate_per_s, BEFORE_S + AFTER_S, seed=seed)
    samples, _ = await asyncio.gather(offer(moments, send), renew())
    new = await recorded(caller, [old[0].scenario])
    return rows_of(samples, old, new)
