"""`python -m loadtests.serving.hour`: an hour of speech in one request → its words, and the memory.

Recordings of the data folder, each as often as the others, are joined with nothing between them and
sent to OpenAI's API, which streams the text. It is held against what the same server hears in the
same recordings one by one. They come in the folder's order, in which a speaker says one after
another, and then shuffled, so that another speaker begins every few seconds, without a pause.
"""

import asyncio
import io
import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from time import perf_counter
from typing import Annotated

import aiohttp
import numpy as np
import psutil
import soundfile
import typer

from loadtests.serving.attendant import STORE, Attendant, attendant, prepared
from loadtests.serving.bench.speech import Recording, recordings, word_errors
from loadtests.serving.verdict import Row, conclude, judged

MOST_MB = 1_000.0
MOST_POINTS = 0.5
"""Of word error rate, more than one by one."""
LOOK_S = 0.5
LIMIT_S = 1_800.0
DONE = b"data: [DONE]"


@dataclass
class Heard:
    """What came of a recording, and when."""

    text: str = ""
    at_s: list[float] = field(default_factory=list)
    """Of each event, since the request left."""


def chosen(known: Sequence[Recording], minutes: float, seed: int | None) -> list[Recording]:
    """So much speech, all recordings once before one comes twice; a seed shuffles them."""
    random, order, left_s = Random(seed), list[Recording](), 60 * minutes
    while left_s > 0:
        for recording in known if seed is None else random.sample(known, len(known)):
            if left_s > 0:
                order.append(recording)
                left_s -= recording.duration_s
    return order


def joined(order: Sequence[Recording]) -> bytes:
    """One FLAC file."""
    read = [soundfile.read(io.BytesIO(each.content), dtype="int16") for each in order]
    (rate_hz,) = {rate_hz for _, rate_hz in read}
    file = io.BytesIO()
    soundfile.write(file, np.concatenate([samples for samples, _ in read]), rate_hz, format="FLAC")
    return file.getvalue()


async def transcribe(session: aiohttp.ClientSession, url: str, recording: bytes) -> Heard:
    """The stream of one transcription; raises ValueError where it ends with an error."""
    form = aiohttp.FormData({"model": "whisper-1", "language": "en", "stream": "true"})
    form.add_field("file", recording, filename="speech.flac", content_type="audio/flac")
    heard, began_s = Heard(), perf_counter()
    async with session.post(f"{url}/v1/audio/transcriptions", data=form) as got:
        async for line in got.content:
            if not line.startswith(b"data: ") or line.startswith(DONE):
                continue
            event = json.loads(line.removeprefix(b"data: "))
            if "error" in event:
                raise ValueError(f"{url}: {event['error']}")
            heard.at_s.append(perf_counter() - began_s)
            heard.text = event.get("text", heard.text)
        if got.status != 200:
            raise ValueError(f"{url}: {got.status}")
    return heard


def resident_mb(server: Attendant) -> float:
    """Of all processes of the server."""
    size_bytes = 0
    for process in server.family():
        with suppress(psutil.NoSuchProcess):
            size_bytes += process.memory_info().rss
    return size_bytes / 1e6


def wrong(order: Sequence[Recording], texts: Sequence[str]) -> float:
    """Word errors in percent, of one text of all recordings or one of each."""
    if len(texts) == 1:
        words, duration_s = " ".join(each.words for each in order), sum(r.duration_s for r in order)
        order = [Recording(b"", words, duration_s)]
    return 100 * word_errors(order, texts)


async def measured(
    server: Attendant, order: Sequence[Recording], shuffled: Sequence[Recording]
) -> list[Row]:
    """The recordings as one, and then each alone; and as one in another order."""
    whole, duration_s = joined(order), sum(each.duration_s for each in order)
    idle_mb = most_mb = resident_mb(server)
    timeout = aiohttp.ClientTimeout(total=LIMIT_S)
    async with aiohttp.ClientSession(timeout=timeout, read_bufsize=1 << 24) as session:
        work = asyncio.create_task(transcribe(session, server.url, whole))
        while not work.done():
            await asyncio.wait([work], timeout=LOOK_S)
            most_mb = max(most_mb, resident_mb(server))
        heard = await work
        alone = {
            each.content: (await transcribe(session, server.url, each.content)).text
            for each in {each.content: each for each in (*order, *shuffled)}.values()
        }
        mixed = await transcribe(session, server.url, joined(shuffled))
    silent_s = float(np.diff([0.0, *heard.at_s]).max())
    (together, apart), (changing, changing_apart) = (
        (wrong(of, [text]), wrong(of, [alone[each.content] for each in of]))
        for of, text in ((order, heard.text), (shuffled, mixed.text))
    )
    more_mb = most_mb - idle_mb
    return [
        Row(
            tried="the request",
            saw=f"{duration_s / 60:.1f} minutes of speech, {len(whole) / 1e6:.0f} MB, "
            f"in {heard.at_s[-1]:.0f} s",
        ),
        judged("progress", f"{len(heard.at_s)} events, none for at most {silent_s:.1f} s",
               "more than one", met=len(heard.at_s) > 2),
        judged("memory", f"at most {more_mb:.0f} MB above idle ({idle_mb:.0f} MB)",
               f"under {MOST_MB:g} MB", met=more_mb < MOST_MB),
        judged("words", f"{together:.2f} % wrong, {apart:.2f} % one by one",
               f"at most {MOST_POINTS:+g} points", met=together - apart <= MOST_POINTS),
        Row(
            tried="words where speakers change all the time",
            saw=f"{changing:.2f} % wrong, {changing_apart:.2f} % one by one",
        ),
    ]  # fmt: skip


def main(
    minutes: Annotated[float, typer.Option(min=0.1)] = 60.0,
    data_dir: Annotated[Path, typer.Option(help="Folder with the data sets.")] = Path("data"),
    seed: Annotated[int, typer.Option(help="Of the random order.")] = 0,
    store: Annotated[Path, typer.Option(help="Model store to copy.")] = STORE,
    record: Annotated[Path | None, typer.Option(help="Keep the table in this file.")] = None,
) -> None:
    """Have a server of our own transcribe it; exits 1 where it hears worse or takes too much."""
    known = recordings(data_dir, least_s=0)
    order, shuffled = (chosen(known, minutes, each) for each in (None, seed))
    with attendant(prepared(store)) as server:
        rows = asyncio.run(measured(server, order, shuffled))
    conclude("bench-hour", rows, {"minutes": minutes, "seed": seed}, record=record)


if __name__ == "__main__":
    typer.run(main)
