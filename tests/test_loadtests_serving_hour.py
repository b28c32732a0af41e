"""An hour of speech: what is joined, and a stream that ends with its text or with an error."""

import asyncio
import io
from collections import Counter

import aiohttp
import numpy as np
import pytest
import soundfile
from aiohttp import web

from loadtests.serving.bench.speech import Recording
from loadtests.serving.hour import chosen, joined, transcribe

RATE_HZ = 16_000


def recording(number: int) -> Recording:
    file = io.BytesIO()
    samples = np.full(RATE_HZ * (number + 1), number, np.int16)
    soundfile.write(file, samples, RATE_HZ, format="FLAC")
    return Recording(file.getvalue(), f"word {number}", number + 1.0)


KNOWN = [recording(number) for number in range(3)]


def test_all_recordings_come_once_before_one_comes_twice() -> None:
    order = chosen(KNOWN, 0.5, seed=1)
    assert sum(each.duration_s for each in order) >= 30
    counts = Counter(each.words for each in order)
    assert max(counts.values()) - min(counts.values()) <= 1
    assert chosen(KNOWN, 0.5, seed=1) == order
    assert {each.words for each in order[:3]} == {each.words for each in KNOWN}
    assert chosen(KNOWN, 0.15, seed=None) == [*KNOWN, *KNOWN[:2]]


def test_they_are_joined_with_nothing_between() -> None:
    samples, rate_hz = soundfile.read(io.BytesIO(joined(KNOWN)), dtype="int16")
    assert rate_hz == RATE_HZ
    assert samples.tolist() == [0] * RATE_HZ + [1] * 2 * RATE_HZ + [2] * 3 * RATE_HZ


def asked(*events: bytes) -> str:
    """The text of a stream of these events."""

    async def answer(request: web.Request) -> web.Response:
        form = await request.post()
        assert form["stream"] == "true"
        return web.Response(body=b"".join(b"data: " + each + b"\n\n" for each in events))

    async def run() -> str:
        app = web.Application()
        app.router.add_post("/v1/audio/transcriptions", answer)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        (address,) = runner.addresses
        try:
            async with aiohttp.ClientSession() as session:
                heard = await transcribe(session, f"http://127.0.0.1:{address[1]}", b"fLaC")
        finally:
            await runner.cleanup()
        assert len(heard.at_s) == len(events) - 1
        return heard.text

    return asyncio.run(run())


def test_the_text_is_that_of_the_last_event() -> None:
    delta, done = b'{"type":"transcript.text.delta","delta":"a"}', b'{"text":"a b"}'
    assert asked(delta, done, b"[DONE]") == "a b"


def test_an_error_in_the_stream_is_raised() -> None:
    with pytest.raises(ValueError, match="too long"):
        asked(b'{"error":{"message":"too long"}}', b"[DONE]")
