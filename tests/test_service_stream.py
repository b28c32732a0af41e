"""Texts come as they become known, and what came, joined, is the text of the answer."""

import asyncio
import random
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any, Literal

import pytest
from conftest import SENTENCES
from fake_models import in_memory, with_engine
from fake_translator import Parrot, assets_in
from fake_whisper import Scripted, folder_of, said, windows_of

from service import telemetry
from service.continuous import Continuous
from service.engine import Engine
from service.errors import DeadlineExceeded, InvalidInput, Unavailable
from service.schema import Partial, ResponseModel
from service.settings import Settings
from service.stream import Reading
from service.tasks import automatic_speech_recognition as speech
from service.tasks import task
from service.tasks.translation import Request
from service.telemetry import Labels

TRANSLATION = task("translation")


class Heard:
    """What a client has of a stream's texts."""

    def __init__(self) -> None:
        self.texts: dict[int, str] = defaultdict(str)
        self.partials: list[Partial] = []

    def hear(self, partial: Partial) -> None:
        before = "" if partial.replaces else self.texts[partial.index]
        self.texts[partial.index] = before + partial.text
        self.partials.append(partial)


async def heard(
    events: AsyncIterator[Partial | ResponseModel],
) -> tuple[Heard, ResponseModel]:
    heard, answers = Heard(), list[ResponseModel]()
    async for event in events:
        assert not answers, "the answer is the last"
        if isinstance(event, Partial):
            heard.hear(event)
        else:
            answers.append(event)
    return heard, answers[0]


def drawn(seed: int) -> Request:
    """Texts of sentences and white space, as they come."""
    draw = random.Random(seed)

    def text() -> str:
        sentences = draw.choices(SENTENCES, k=draw.randint(1, 4))
        return draw.choice(["", " ", "\n"]) + draw.choice([" ", "\n\n", "  \t"]).join(sentences)

    beam_size = draw.randint(1, 4)
    return Request(
        text=[text() for _ in range(draw.randint(1, 3))],
        source="en",
        target=draw.choice(["de", "fr"]),
        beam_size=beam_size,
        max_new_tokens=draw.randint(1, 30),
        alternatives=draw.randint(0, beam_size - 1),
    )


@pytest.fixture(scope="module")
def parrot(tmp_path_factory: pytest.TempPathFactory) -> Parrot:
    return Parrot(assets_in(tmp_path_factory.mktemp("assets")))


def with_parrot(
    scenario: Callable[[Engine], Awaitable[Any]],
    parrot: Parrot,
    batching: Literal["continuous", "request"] = "continuous",
) -> None:
    async def served(engine: Engine) -> None:
        engine.serve(TRANSLATION, "parrot:1", parrot, parrot.assets)
        await scenario(engine)

    with_engine(served, TRANSLATION, settings=Settings(threads=1, batching=batching))


def texts_of(response: Any) -> list[str]:
    return [translation.text for translation in response.translations]


@pytest.mark.parametrize("batching", ["continuous", "request"])
def test_a_random_mix_of_streams_is_joined_to_its_answers(
    parrot: Parrot,
    batching: Literal["continuous", "request"],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(parrot, "step_s", 0.001)
    requests = [drawn(seed) for seed in range(20)]
    parts, sentences = [], []

    async def scenario(engine: Engine) -> None:
        streams = [heard(engine.stream("translation", request)) for request in requests]
        for request, (got, response) in zip(requests, await asyncio.gather(*streams), strict=True):
            texts = texts_of(await engine.answer("translation", request))
            assert texts_of(response) == texts
            assert [got.texts[index] for index in range(len(texts))] == texts
            assert not any(partial.replaces for partial in got.partials)
            parts.append(len(got.partials))
            sentences.append(len(TRANSLATION.preprocess(request, parrot.assets)))

    with_parrot(scenario, parrot, batching)
    if batching == "continuous":
        assert sum(parts) > sum(sentences), "tokens come before the sentence is whole"
    else:
        assert sum(parts) <= sum(sentences), "a sentence comes as a whole"


def test_a_stream_that_is_closed_frees_its_row(
    parrot: Parrot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parrot, "step_s", 0.005)
    monkeypatch.setattr(parrot, "rows", [])
    request = Request(text="I read " * 30, source="en", target="de", beam_size=1)

    async def scenario(engine: Engine) -> None:
        loaded = in_memory(engine, "translation")
        async with aclosing(engine.stream("translation", request)) as events:
            assert isinstance(await anext(events), Partial)
            assert loaded.gate.inside == 1
        assert await loaded.gate.empty(5)
        steps = len(parrot.rows)
        await asyncio.sleep(0.05)
        assert 0 < steps < 30
        assert len(parrot.rows) <= steps + 1, "the step that was under way was the last"

    with_parrot(scenario, parrot)


def test_a_stream_is_refused_and_ends_as_an_answer_is(parrot: Parrot) -> None:
    async def scenario(engine: Engine) -> None:
        wrong = Request(text="a", source="en", target="xx")
        with pytest.raises(InvalidInput, match="target"):
            await heard(engine.stream("translation", wrong))
        with pytest.raises(DeadlineExceeded):
            await heard(engine.stream("translation", drawn(0), timeout_s=1e-4))
        await engine.models.unload("translation")
        with pytest.raises(Unavailable):
            await heard(engine.stream("translation", drawn(0)))

    with_parrot(scenario, parrot)


def test_the_first_text_of_a_stream_is_timed(parrot: Parrot) -> None:
    def timed() -> float:
        name = "attendant_first_token_seconds_count"
        labels = {"task": "translation", "model": "translation"}
        return telemetry.REGISTRY.get_sample_value(name, labels) or 0

    async def scenario(engine: Engine) -> None:
        before = timed()
        await heard(engine.stream("translation", drawn(1)))
        assert timed() == before + 1
        await engine.answer("translation", drawn(1))
        assert timed() == before + 1

    with_parrot(scenario, parrot)


@pytest.fixture
def assets(tmp_path: Path) -> speech.Assets:
    return speech.load_assets(folder_of(tmp_path))


def transcribed(runner: Any, assets: speech.Assets, durations_s: Sequence[float]) -> Heard:
    """A recording of windows so long, read along; it ends as the answer does."""
    got = Heard()
    generation = task("automatic-speech-recognition").generation
    assert generation is not None
    runner.step_s = 0.001

    async def run() -> None:
        labels = Labels("speech", "whisper")
        lane = Continuous(labels, runner, generation, assets, speech.cost, max_queue_cost=99)
        items, reading = windows_of(*durations_s), Reading(generation)
        reading.begin(items, assets)

        async def read() -> None:
            async for partial in reading.partials():
                got.hear(partial)

        reader = asyncio.create_task(read())
        answers = await lane.submit(items, watch=reading.watch)
        reading.end()
        await reader
        rows = [answer.row for answer in answers]
        response = speech.postprocess(speech.example(), assets, items, rows)
        assert got.texts[0] == response.text
        assert not list(reading.rest(response))
        await lane.close()

    asyncio.run(run())
    return got


def test_windows_are_told_in_their_order_and_rests_follow(assets: speech.Assets) -> None:
    script = {
        (0, 0): said(assets, 0.0, " Zwölf", 4.0, 4.0),
        (0, 400): said(assets, 0.0, " Häuser", 3.0),
        (1, 0): said(assets, 0.0, " One."),
        (2, 0): said(assets, 0.5, " Two.", 4.0),
    }
    got = transcribed(Scripted(assets, script), assets, (10, 10, 5))
    assert got.texts[0] == "Zwölf Häuser One. Two."
    assert len(got.partials) > 4
    assert not any(partial.replaces for partial in got.partials)
    assert not any("\ufffd" in partial.text for partial in got.partials)


def test_a_text_that_loops_is_taken_back(assets: speech.Assets) -> None:
    script = {(0, 0): said(assets, 0.0, " and " + "1" * 200)}
    runner = Scripted(assets, script)
    runner.second_choice = said(assets, 0.0, " and one", 4.0)
    got = transcribed(runner, assets, (10,))
    assert got.texts[0] == "and one"
    assert [partial.replaces for partial in got.partials].count(True) == 1
    assert sum(partial.text.count("1") for partial in got.partials) > 9


@pytest.mark.parametrize(("silent", "text"), [(0.95, ""), (0.7, "Thanks.")])
def test_what_may_be_silence_is_not_told_before_it_is_sure(
    assets: speech.Assets, silent: float, text: str
) -> None:
    runner = Scripted(assets, {(0, 0): said(assets, 0.0, " Thanks.", 2.0)}, silent)
    got = transcribed(runner, assets, (10,))
    assert [partial.text for partial in got.partials] == [text] * bool(text)


def test_a_random_mix_of_windows_is_joined_to_its_answer(assets: speech.Assets) -> None:
    for seed in range(8):
        draw = random.Random(seed)
        script: Mapping[Any, Any] = {
            (window, 0): said(assets, 0.0, draw.choice([" 日本語", " é" * 9, " plain", ""]), 9.0)
            for window in range(6)
        }
        silent = draw.choice([0.0, 0.7])
        transcribed(Scripted(assets, dict(script), silent), assets, (10,) * 6)
