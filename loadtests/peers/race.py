"""peers, a prepared work, rounds → the seconds each took: one runs at a time, in turns.

In every round of every size each peer has one turn, in a new order, while the others sleep: what
drifts in the machine meets all of them alike.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import sleep

import numpy as np
from numpy.typing import NDArray

from loadtests.peers.peer import Peer
from loadtests.peers.record import Raced
from loadtests.peers.remote import LOAD_S, Failed, Remote, Skipped

Quality = Callable[[NDArray[np.generic]], dict[str, float]]
Say = Callable[[str], None]


@dataclass(frozen=True)
class Terms:
    """What all peers of a race are held to."""

    sizes: Sequence[int]
    threads: int
    rounds: int
    environments: Path
    turn_s: float = 0.4
    """Shorter batches are repeated for so long; the median counts."""
    pause_s: float = 0.25
    """Before each turn, for the threads of the peer before to fall asleep."""
    turn_limit_s: float = 300.0
    warm_limit_s: float = LOAD_S
    seed: int = 0


def race(
    peers: Sequence[Peer], folder: Path, *, terms: Terms, quality: Quality, say: Say
) -> dict[str, Raced]:
    """Race peers on one work; one that fails is recorded with its reason and the others go on."""
    records: dict[str, Raced] = {}
    running: dict[str, Remote] = {}
    try:
        for peer in peers:
            say(f"loading {peer.name}")
            try:
                running[peer.name], records[peer.name] = _ready(peer, folder, terms, quality)
            except (Skipped, Failed) as fault:
                records[peer.name] = _out(fault)
                say(f"{peer.name} {records[peer.name].status}: {fault}")
        order = random.Random(terms.seed)
        for size in terms.sizes:
            for turn in range(terms.rounds):
                say(f"size {size}, round {turn + 1} of {terms.rounds}")
                for name in order.sample(sorted(running), len(running)):
                    try:
                        records[name].seconds.setdefault(size, []).append(
                            _turn(running[name], size, terms)
                        )
                    except (Skipped, Failed) as fault:
                        del running[name]
                        records[name] = _out(fault)
                        say(f"{name} failed at size {size}: {fault}")
    finally:
        for remote in running.values():
            remote.close()
    return records


def _out(fault: Exception) -> Raced:
    reason = str(fault).replace(f"{Path.cwd()}/", "")  # the page names no machine's folders
    return Raced(status="skipped" if isinstance(fault, Skipped) else "failed", reason=reason)


def _ready(peer: Peer, folder: Path, terms: Terms, quality: Quality) -> tuple[Remote, Raced]:
    """Start a worker and warm it up at every size; its outputs at the largest are judged."""
    slug = peer.name.replace(" ", "-").replace("/", "-")
    remote = Remote(
        peer,
        folder=folder,
        environments=terms.environments,
        threads=terms.threads,
        log=folder / "logs" / f"{slug}.txt",
    )
    try:
        told: Mapping[str, dict[str, str]] = remote.answer(LOAD_S)
        output = folder / "outputs" / f"{slug}.npy"
        output.parent.mkdir(exist_ok=True)
        for size in sorted(terms.sizes):
            remote.ask({"size": size, "output": str(output.absolute())}, terms.warm_limit_s)
        judged = quality(np.load(output))
    except ValueError as misfit:  # no output of this work
        remote.close()
        raise Failed(str(misfit)) from misfit
    except BaseException:
        remote.close()
        raise
    return remote, Raced(
        status="raced", settings=told["settings"], versions=told["versions"], quality=judged
    )


def _turn(remote: Remote, size: int, terms: Terms) -> float:
    sleep(terms.pause_s)
    reply = remote.ask({"size": size, "at_least_s": terms.turn_s}, terms.turn_limit_s)
    times_s: list[float] = reply["times_s"]
    return median(times_s)
