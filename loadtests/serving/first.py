"""`python -m loadtests.serving.first`: how soon the first text of a stream comes, if alone.

Live speech is sent as fast as it is spoken, and timed from its first sample; the example begins
with speech. A translation is timed from when its request leaves.
"""

import asyncio
import io
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Annotated

import aiohttp
import soundfile
import typer

from loadtests.serving.attendant import STORE, attendant, prepared
from loadtests.serving.verdict import Row, conclude, judged
from service.tasks import task

SPEECH = "automatic-speech-recognition"
CHUNK_S = 0.04
TRANSLATION = {"text": "I like to read books.", "source": "en", "target": "de"}
EVENTS = {"Accept": "text/event-stream"}
First = Callable[[aiohttp.ClientSession, str], Awaitable[float]]


async def of_speech(session: aiohttp.ClientSession, url: str) -> float:
    """Milliseconds to the first partial text of the example."""
    example: bytes = task(SPEECH).example().model_dump()["audio"]
    samples, rate_hz = soundfile.read(io.BytesIO(example), dtype="int16")
    step = int(CHUNK_S * rate_hz)
    async with session.ws_connect(f"{url}/{SPEECH}/live?rate_hz={rate_hz}") as socket:
        began_s = perf_counter()

        async def speak() -> None:
            for at in range(0, len(samples), step):
                # A microphone has a chunk when it has been spoken.
                await asyncio.sleep(began_s + (at + step) / rate_hz - perf_counter())
                await socket.send_bytes(samples[at : at + step].tobytes())

        speaking = asyncio.create_task(speak())
        try:
            event = json.loads((await socket.receive()).data)
        finally:
            speaking.cancel()
        if event["type"] != "partial":
            raise typer.BadParameter(f"the first event is {event}")
        return 1e3 * (perf_counter() - began_s)


async def of_translation(session: aiohttp.ClientSession, url: str) -> float:
    """Milliseconds to the first event of a translation."""
    began_s = perf_counter()
    async with session.post(f"{url}/translation", json=TRANSLATION, headers=EVENTS) as got:
        line = await got.content.readline()
        took_ms = 1e3 * (perf_counter() - began_s)
        if line != b"event: partial\n":
            raise typer.BadParameter(f"the first event is {line!r}")
        await got.read()
    return took_ms


BOUNDS_MS: dict[str, tuple[First, float]] = {
    "live speech": (of_speech, 500.0),
    "translation": (of_translation, 150.0),
}


def row(name: str, took_ms: list[float], bound_ms: float) -> Row:
    p50_ms = median(took_ms)
    saw = f"p50 {p50_ms:.0f} ms, longest {max(took_ms):.0f} ms of {len(took_ms)}"
    return judged(f"first text of {name}", saw, f"p50 under {bound_ms:g} ms", met=p50_ms < bound_ms)


async def measured(url: str, streams: int) -> list[Row]:
    """One stream after the other, after one that does not count."""
    rows = []
    async with aiohttp.ClientSession() as session:
        for name, (first, bound_ms) in BOUNDS_MS.items():
            took_ms = [await first(session, url) for _ in range(streams + 1)][1:]
            rows.append(row(name, took_ms, bound_ms))
    return rows


def main(
    streams: Annotated[int, typer.Option(min=1, help="Of each kind.")] = 21,
    store: Annotated[Path, typer.Option(help="Model store to copy.")] = STORE,
    record: Annotated[Path | None, typer.Option(help="Keep the table in this file.")] = None,
) -> None:
    """Time first texts on a server of our own; exits 1 where they come late."""
    with attendant(prepared(store)) as server:
        rows = asyncio.run(measured(server.url, streams))
    conclude("bench-first", rows, {"streams": streams}, record=record)


if __name__ == "__main__":
    typer.run(main)
