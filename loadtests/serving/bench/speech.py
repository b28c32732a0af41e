"""eight callers with recordings of 5 to 30 s → the seconds of audio that a server transcribes."""

import asyncio
import csv
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

import aiohttp
import soundfile
import uvloop

from loadtests.serving.bench.servers import (
    Missing,
    Places,
    Started,
    faster_whisper,
    our_speech,
    vllm,
)
from loadtests.serving.processes import Running
from loadtests.serving.verdict import Row, judged

OURS, FASTER, VLLM = "Attendant", "faster-whisper int8 behind FastAPI", "vllm serve"
WANTED = {FASTER: 4.0, VLLM: 1.5}
CALLERS = 8
LEAST_S, MOST_S = 5.0, 30.0
MOST_WRONG = 0.5
"""Who gets more of the words wrong does other work."""
WORDS_OFF = 0.02
"""How many more words than the best of the peers may be wrong: speed alone does not count."""


@dataclass(frozen=True)
class Recording:
    content: bytes
    words: str
    duration_s: float


def recordings(data_dir: Path, least_s: float = LEAST_S) -> list[Recording]:
    """Those of the data folder that are long enough, and no longer than a window."""
    folder, found = data_dir / "librispeech_other", []
    with (folder / "transcripts.tsv").open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file, delimiter="\t"):
            path = folder / "flac" / f"{row['id']}.flac"
            duration_s = soundfile.info(path).duration
            if least_s <= duration_s <= MOST_S:
                found.append(Recording(path.read_bytes(), row["text"], duration_s))
    return found


Transcribe = Callable[[aiohttp.ClientSession, str, bytes], Awaitable[str]]


async def of_attendant(session: aiohttp.ClientSession, url: str, recording: bytes) -> str:
    headers = {"Content-Type": "audio/flac"}
    at = f"{url}/automatic-speech-recognition"
    async with session.post(at, data=recording, headers=headers) as got:
        got.raise_for_status()
        return str((await got.json())["text"])


async def of_openai(session: aiohttp.ClientSession, url: str, recording: bytes) -> str:
    form = aiohttp.FormData({"model": "whisper", "language": "en", "temperature": "0"})
    form.add_field("file", recording, filename="a.flac", content_type="audio/flac")
    async with session.post(f"{url}/v1/audio/transcriptions", data=form) as got:
        got.raise_for_status()
        return str((await got.json())["text"])


async def rate(
    server: Running, transcribe: Transcribe, known: Sequence[Recording], *, passes: int, seed: int
) -> tuple[float, list[str]]:
    """Seconds of audio per second over so many passes, and the texts of the first one.

    The callers share one queue of all recordings, in an order drawn anew for each pass; the clock
    stops when the last is answered.
    """
    texts = [""] * len(known)
    random = Random(seed)
    todo = [i for _ in range(passes) for i in random.sample(range(len(known)), len(known))]
    timeout = aiohttp.ClientTimeout(total=600)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        for recording in known[:2]:
            await transcribe(session, server.url, recording.content)
        waiting = iter(todo)

        async def keep() -> None:
            for index in waiting:
                texts[index] = await transcribe(session, server.url, known[index].content)

        loop = asyncio.get_running_loop()
        began_s = loop.time()
        await asyncio.gather(*(keep() for _ in range(CALLERS)))
        took_s = loop.time() - began_s
    return sum(known[index].duration_s for index in todo) / took_s, texts


def word_errors(known: Sequence[Recording], texts: Sequence[str]) -> float:
    """Share of wrong words, after Whisper's own normaliser."""
    import jiwer  # noqa: PLC0415
    from whisper_normalizer.english import EnglishTextNormalizer  # noqa: PLC0415

    normal = EnglishTextNormalizer()
    said = [normal(recording.words) for recording in known]
    return float(jiwer.wer(said, [normal(text) for text in texts]))


def bench(places: Places, *, passes: int, least: int | None, seed: int) -> list[Row]:
    """Every server alone, one after the other; `least` takes only so many recordings."""
    known = recordings(places.data)[:least]
    servers: dict[str, tuple[Started, Transcribe]] = {
        OURS: (our_speech(places), of_attendant),
        FASTER: (faster_whisper(places), of_attendant),
        VLLM: (vllm(places), of_openai),
    }
    rows: list[Row] = []
    rates: dict[str, float] = {}
    errors: dict[str, float] = {}
    for name, (start, transcribe) in servers.items():
        what = f"speech: {name}"
        try:
            with start() as server:
                rates[name], texts = uvloop.run(
                    rate(server, transcribe, known, passes=passes, seed=seed)
                )
        except Missing as reason:
            rows.append(Row(tried=what, saw=str(reason)[:300], met="skipped"))
            continue
        wrong = word_errors(known, texts)
        saw = f"{rates[name]:.1f} s of audio a second, {wrong:.1%} of the words wrong"
        if wrong > MOST_WRONG:
            del rates[name]
            rows.append(Row(tried=what, saw=f"{saw}: no transcripts", met="skipped"))
            continue
        errors[name] = wrong
        rows.append(Row(tried=what, saw=saw))
    for name, wanted in WANTED.items():
        if name in rates and OURS in rates:
            ratio = rates[OURS] / rates[name]
            rows.append(judged(f"speech: against {name}", f"{ratio:.2f}x", f"{wanted:g}x",
                               met=ratio >= wanted))  # fmt: skip
    peers = [value for name, value in errors.items() if name != OURS]
    if peers and OURS in errors:
        off = errors[OURS] - min(peers)
        rows.append(judged("speech: words", f"{off:+.1%} against the best of the others",
                           f"at most {WORDS_OFF:+.0%}", met=off <= WORDS_OFF))  # fmt: skip
    return rows
