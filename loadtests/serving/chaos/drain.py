"""SIGTERM while requests keep arriving → every request that was accepted is answered."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from time import monotonic

import aiohttp
import psutil

from loadtests.serving.attendant import Attendant
from loadtests.serving.calls import Caller, Kind, Reply
from loadtests.serving.goldens import Golden
from loadtests.serving.open_load import offer, poisson
from loadtests.serving.verdict import Row, judged

BEFORE_S = 3.0
"""Load before the signal."""
AFTER_S = 8.0
EXIT_S = 40.0
ACCEPTED = {Kind.ANSWERED, Kind.REFUSED, Kind.UNREACHABLE}


@dataclass
class Ready:
    """When readiness was seen to go, and when the first request was refused; after the signal."""

    signal_s: float = 0.0
    unready_s: float | None = None
    refused_s: float | None = None


async def drained(
    server: Attendant, goldens: Sequence[Golden], *, rate_per_s: float, seed: int
) -> list[Row]:
    """Half of the HTTP requests come on connections that are kept, half on new ones."""
    ready = Ready()
    async with (
        Caller(server.url, server.grpc) as kept,
        Caller(server.url, server.grpc, fresh=True) as fresh,
    ):

        async def send(index: int) -> Reply:
            golden = goldens[index % len(goldens)]
            reply = await (kept, fresh)[index // len(goldens) % 2].ask(golden.door, golden.scenario)
            if ready.signal_s and not ready.refused_s and reply.kind is not Kind.ANSWERED:
                ready.refused_s = monotonic() - ready.signal_s
            fault = golden.wrong(reply)
            return Reply(Kind.FAILED, detail=f"wrong: {fault}") if fault else reply

        async def stop() -> int | None:
            await asyncio.sleep(BEFORE_S)
            ready.signal_s = monotonic()
            server.process.terminate()
            try:
                return await asyncio.to_thread(server.process.wait, EXIT_S)
            except psutil.TimeoutExpired:
                return None

        async def look() -> None:
            while (
                ready.unready_s is None and monotonic() - (ready.signal_s or monotonic()) < EXIT_S
            ):
                try:
                    async with fresh.session.get(f"{server.url}/readyz") as got:
                        if got.status != 200:
                            ready.unready_s = monotonic() - ready.signal_s
                except (aiohttp.ClientError, OSError):
                    return
                await asyncio.sleep(0.02)

        moments = poisson(rate_per_s, BEFORE_S + AFTER_S, seed=seed)
        code, samples, _ = await asyncio.gather(stop(), offer(moments, send), look())
        exit_s = monotonic() - ready.signal_s
    kinds = Counter(sample.reply.kind for sample in samples)
    failed = [each.reply.detail for each in samples if each.reply.kind not in ACCEPTED]
    saw = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
    first = f"; {failed[0][:200]}" if failed else ""
    unready = "never seen" if ready.unready_s is None else f"{ready.unready_s:.2f} s"
    refused = "none" if ready.refused_s is None else f"{ready.refused_s:.2f} s"
    lame_duck = ready.unready_s is not None and (ready.refused_s or EXIT_S) > ready.unready_s
    ended = "did not exit" if code is None else f"exit {code}"
    return [
        judged("drain: accepted, but failed",
               f"{len(failed)} of {len(samples)} ({saw}){first}", "0",
               met=kinds[Kind.ANSWERED] > 0 and not failed),
        judged("drain: readiness goes, then refusals come", f"{unready}, {refused}", "in order",
               met=lame_duck),
        judged("drain: end", f"{ended} after {exit_s:.1f} s", f"exit 0 within {EXIT_S:.0f} s",
               met=code == 0),
    ]  # fmt: skip
