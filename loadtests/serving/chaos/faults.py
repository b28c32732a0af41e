"""a watched server → one fault done to it and undone, and what was seen meanwhile."""

import asyncio
import io
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil
from PIL import Image

from loadtests.door import Door
from loadtests.scenarios import scenario
from loadtests.serving.calls import Kind
from loadtests.serving.chaos.watch import TYPED, Watch
from loadtests.serving.verdict import Row, judged
from service.tasks import task

SETTLE_S = 1.0
"""For load to be under way before a fault."""
STOPPED_S = 1.0
"""Less than a worker may be silent before it is replaced."""
VICTIM = "image-classification"
"""The task whose model is broken; its weights are small."""
WEIGHTS = "weights.safetensors"
BIG_SIDE = 900
"""A picture of noise as large as this is over the megabyte that forms keep in memory."""


async def killed(watch: Watch) -> list[Row]:
    """Requests under way go down with their process; those after them are answered."""
    await asyncio.sleep(SETTLE_S)
    for process in watch.server.workers():
        process.kill()
    recovery_s = await watch.recovery_s()
    return watch.verdict("SIGKILL of the worker", recovery_s, TYPED | {Kind.LOST})


async def stopped(watch: Watch) -> list[Row]:
    """A worker that sleeps for a while answers late, and rightly."""
    await asyncio.sleep(SETTLE_S)
    workers = watch.server.workers()
    for process in workers:
        process.suspend()
    await asyncio.sleep(STOPPED_S)
    for process in workers:
        process.resume()
    recovery_s = await watch.recovery_s()
    return watch.verdict("SIGSTOP, SIGCONT of the worker", recovery_s)


async def hung(watch: Watch) -> list[Row]:
    """A worker that sleeps for good is replaced; what it had accepted is lost with it."""
    await asyncio.sleep(SETTLE_S)
    for process in watch.server.workers():
        process.suspend()
    recovery_s = await watch.recovery_s()
    return watch.verdict("SIGSTOP of the worker", recovery_s, TYPED | {Kind.LOST})


def weights_of(home: Path, name: str) -> Path:
    """The weights of a model in a store that holds one version of it."""
    return next(home.glob(f"models/{name}/*/{WEIGHTS}"))


async def _restarted(watch: Watch) -> float | None:
    """Kill the workers; returns the seconds until every task but the victim is right."""
    for process in watch.server.workers():
        process.kill()
    return await watch.recovery_s(without=VICTIM)


async def corrupt_model(watch: Watch) -> list[Row]:
    """A worker that finds a damaged model serves the others and says what is wrong with it."""
    path = weights_of(watch.server.home, VICTIM)
    whole = path.read_bytes()
    middle = len(whole) // 2
    path.write_bytes(whole[:middle] + bytes([whole[middle] ^ 0xFF]) + whole[middle + 1 :])
    recovery_s = await _restarted(watch)
    rows = watch.verdict("corrupt model at a restart", recovery_s, TYPED | {Kind.LOST})
    said = (await watch.caller.states()).get(VICTIM, "nothing")
    replies = [await watch.caller.ask(door, scenario(task(VICTIM))) for door in Door]
    refused = all(reply.kind is Kind.REFUSED for reply in replies)
    rows.append(
        judged(
            "corrupt model: its task",
            "; ".join([said[:120], *(reply.detail[:60] for reply in replies)]),
            "named in /status, refused on both doors",
            met=refused and WEIGHTS in said,
        )
    )
    path.write_bytes(whole)
    watch.seen.clear()
    await _restarted(watch)
    return [*rows, *watch.verdict("model mended", await watch.recovery_s(), TYPED | {Kind.LOST})]


def big_picture() -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (BIG_SIDE, BIG_SIDE, 3), np.uint8)
    written = io.BytesIO()
    Image.fromarray(pixels).save(written, "PNG")
    return written.getvalue()


async def full_disk(watch: Watch) -> list[Row]:
    """No process of the server can write to a file, as its log and the parts of large forms are."""
    one = task(VICTIM)
    large = scenario(one, request=one.request.model_validate({"image": big_picture()}))
    limit = getattr(psutil, "RLIMIT_FSIZE", None)
    if limit is None:
        return [Row(tried="full disk", saw="this system has no RLIMIT_FSIZE", met="skipped")]
    family = watch.server.family()
    kept = {process: process.rlimit(limit) for process in family}
    for process, (_, hard) in kept.items():
        process.rlimit(limit, (0, hard))
    await asyncio.sleep(SETTLE_S)
    replies = [await watch.caller.ask(door, large) for door in Door for _ in range(3)]
    for process, soft_hard in kept.items():
        with suppress(psutil.NoSuchProcess):
            process.rlimit(limit, soft_hard)
    rows = watch.verdict("full disk", await watch.recovery_s())
    bad = [reply.detail for reply in replies if reply.kind not in TYPED]
    answered = sum(reply.kind is Kind.ANSWERED for reply in replies)
    saw = f"{answered} of {len(replies)} answered{''.join(f'; {text[:160]}' for text in bad[:1])}"
    return [*rows, judged("full disk: large uploads", saw, "answers, typed refusals", met=not bad)]


FAULTS: tuple[Callable[[Watch], Awaitable[list[Row]]], ...] = (
    killed, stopped, hung, corrupt_model, full_disk,
)  # fmt: skip
