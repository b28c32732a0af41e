"""A stream of speech: partial texts that stay, a final one at every pause, bounds."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from fake_live import duration_s, silent, spoken, words

from service.errors import DeadlineExceeded, InvalidInput, Overloaded, TooLarge
from service.live import incoming
from service.live.agreement import Agreement
from service.live.endpoint import FRAME, Endpointer
from service.live.events import LiveEvent
from service.live.incoming import Bounds, Incoming
from service.live.session import Session
from service.log_mel import RATE_HZ


async def each(chunks: list[bytes]) -> AsyncIterator[bytes]:
    for chunk in chunks:
        for at in range(0, len(chunk), 6_400):
            yield chunk[at : at + 6_400]
            await asyncio.sleep(0.001)


def sound(bounds: Bounds) -> Incoming:
    return Incoming(bounds, rate_hz=RATE_HZ, ending=lambda: False)


def heard(
    *chunks: bytes, ask: Callable[[bytes], Awaitable[str]] = words, **options: Any
) -> list[LiveEvent]:
    async def listen() -> list[LiveEvent]:
        bounds = options.pop("bounds", Bounds(60, 30))
        asked = {"rate_hz": RATE_HZ, "ending": lambda: False, **options}
        session = Session(ask, Incoming(bounds, **asked))
        async with asyncio.timeout(20):
            return [event async for event in session.events(each(list(chunks)))]

    return asyncio.run(listen())


def test_words_stay_once_two_transcripts_agree_on_them() -> None:
    agreement = Agreement()
    assert agreement.add("Good mourning") == ("", "Good mourning")
    assert agreement.add("Good morning, please") == ("Good", "morning, please")
    assert agreement.add("good morning. Please open") == ("Good morning. Please", "open")
    assert agreement.add("") == ("Good morning. Please", "")
    assert agreement.add("Good evening") == ("Good morning. Please", "")


def test_speech_is_what_is_louder_than_the_room() -> None:
    endpointer = Endpointer()

    def hear(level: float, seconds: float) -> None:
        samples = np.random.default_rng(0).normal(0, level, int(seconds * RATE_HZ))
        for frame in samples.astype(np.float32).reshape(-1, FRAME):
            endpointer.hear(frame)

    hear(0.001, 3)
    assert endpointer.voiced_s < 0.1
    hear(0.1, 1)
    assert endpointer.voiced_s == pytest.approx(1, abs=0.1)
    assert not endpointer.paused
    hear(0.001, 1)
    assert endpointer.paused
    endpointer.begin()
    hear(0.001, 1)
    assert not endpointer.paused


def test_partials_grow_and_a_pause_makes_them_final() -> None:
    events = heard(silent(1), spoken(2), silent(1), spoken(1), silent(0.2))
    partials = [event for event in events if event.type == "partial"]
    finals = [event for event in events if event.type == "final"]
    assert len(partials) >= 2
    first = [one for one in partials if one.end_s <= finals[0].end_s]
    for before, after in pairwise(first):
        assert after.text.startswith(before.text)
    assert [event.text.split()[:2] for event in finals] == [["one", "two"]] * 2
    assert finals[0].start_s == pytest.approx(0.7, abs=0.1)
    assert finals[0].end_s == pytest.approx(3.6, abs=0.1)
    assert finals[1].start_s == pytest.approx(3.7, abs=0.1)
    assert events[-1].type == "end"
    assert events[-1].text == " ".join(final.text for final in finals)
    assert events[-1].end_s == pytest.approx(5.2)


def test_the_first_partial_comes_with_a_sixth_of_a_second_of_speech() -> None:
    asked: list[float] = []

    async def ask(audio: bytes) -> str:
        asked.append(duration_s(audio))
        return "go"

    (first, *_) = heard(spoken(1), ask=ask)
    assert (first.type, first.tentative) == ("partial", "go")
    assert asked[0] <= 0.4


def test_silence_is_neither_transcribed_nor_kept() -> None:
    async def ask(audio: bytes) -> str:
        raise AssertionError("nobody spoke")

    assert [event.type for event in heard(silent(20), ask=ask)] == ["end"]


def test_speech_without_a_pause_is_cut() -> None:
    finals = [one for one in heard(spoken(40)) if one.type == "final"]
    assert [one.end_s for one in finals] == [28.0, 40.0]


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 44_100])
def test_every_rate_is_resampled(rate_hz: int) -> None:
    events = heard(spoken(1.5, rate_hz=rate_hz), rate_hz=rate_hz)
    assert events[-1].end_s == pytest.approx(1.5, abs=0.01)
    assert events[-1].text.startswith("one two")


def test_a_sample_may_be_cut_in_two() -> None:
    whole = spoken(1)
    assert heard(whole[:1001], whole[1001:])[-1].text == heard(whole)[-1].text


def test_a_client_that_falls_silent_gets_its_final_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(incoming, "LEAVE_S", 0.2)

    async def chunks() -> AsyncIterator[bytes]:
        yield spoken(1)
        await asyncio.sleep(30)

    async def listen() -> LiveEvent:
        session = Session(words, sound(Bounds(60, 30)))
        events = session.events(chunks())
        async with asyncio.timeout(10):
            async for event in events:
                if event.type == "final":
                    await events.aclose()
                    return event
        raise AssertionError("no final text")

    assert asyncio.run(listen()).text == "one two"


def test_a_stream_that_brings_nothing_or_too_much_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(incoming, "LEAVE_S", 0.05)

    async def nothing() -> AsyncIterator[bytes]:
        await asyncio.sleep(30)
        yield b""

    async def listen(chunks: AsyncIterator[bytes]) -> None:
        session = Session(words, sound(Bounds(2, 0.1)))
        async for _ in session.events(chunks):
            pass

    with pytest.raises(DeadlineExceeded, match="no audio for 0"):
        asyncio.run(listen(nothing()))
    with pytest.raises(TooLarge, match="at most 2 s"):
        asyncio.run(listen(each([spoken(3)])))

    async def one_chunk() -> AsyncIterator[bytes]:
        yield bytes(incoming.MAX_CHUNK_BYTES + 2)

    with pytest.raises(TooLarge, match="at a time"):
        asyncio.run(listen(one_chunk()))
    with pytest.raises(InvalidInput, match="8000 to 48000"):
        heard(rate_hz=96_000)


def test_an_overload_delays_partials_and_loses_no_final() -> None:
    tries = 0

    async def ask(audio: bytes) -> str:
        nonlocal tries
        tries += 1
        if tries % 3:
            raise Overloaded("full", retry_after_s=0.001)
        return "heard"

    events = heard(spoken(0.8), silent(1), ask=ask)
    assert [event.text for event in events if event.type == "final"] == ["heard"]

    async def always(audio: bytes) -> str:
        raise Overloaded("full", retry_after_s=0.001)

    with pytest.raises(Overloaded):
        heard(spoken(0.3), ask=always)


def test_a_service_that_stops_ends_the_stream_with_what_was_said() -> None:
    stopping = False

    async def ask(audio: bytes) -> str:
        nonlocal stopping
        stopping = True
        return "so far"

    events = heard(spoken(5), ask=ask, ending=lambda: stopping)
    assert [event.type for event in events][-2:] == ["final", "end"]
    assert events[-1].end_s < 5
