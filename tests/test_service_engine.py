"""Every failure of a request is a problem with a name, and no request waits too long."""

import asyncio
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_models import in_memory, shouting, with_engine
from fake_tasks import ShoutRequest

from service.engine import Engine
from service.errors import DeadlineExceeded, InvalidInput, Overloaded, Problem, Unavailable
from service.settings import Settings
from service.tasks import task
from service.tasks.translation import Request

TRANSLATION = task("translation")


class Panic(BaseException):
    """What a library in Rust raises is no Exception."""


@pytest.mark.parametrize("part", ["preprocess", "forward", "postprocess"])
def test_a_panic_is_a_failure_of_one_request(tmp_path: Path, part: str) -> None:
    task = shouting()

    def panics(*given: Any) -> Any:
        if "panic" in str(engine_asked[-1]):
            raise Panic
        return getattr(task, part)(*given)

    engine_asked: list[str] = []

    async def scenario(engine: Engine) -> None:
        await engine.load(engine.tasks["shout"], tmp_path)
        for text in ("panic", "calm"):
            engine_asked.append(text)
            asked = engine.answer("shout", ShoutRequest(text=text))
            if text == "calm":
                assert await asked
                continue
            with pytest.raises(Problem, match="the service failed"):
                await asked

    engine_asked.append("example")
    with_engine(scenario, replace(task, **{part: panics}))


@pytest.mark.alone
def test_stage_times_add_up_to_the_time_of_the_request(tmp_path: Path) -> None:
    task = shouting()

    def slow(part: str, seconds: float) -> dict[str, Any]:
        def work(*given: Any) -> Any:
            time.sleep(seconds)
            return getattr(task, part)(*given)

        return {part: work}

    async def scenario(engine: Engine) -> None:
        await engine.load(engine.tasks["shout"], tmp_path)
        began_s = time.monotonic()
        timings = (await engine.answer("shout", ShoutRequest(text="a"))).timings_ms
        took_ms = 1e3 * (time.monotonic() - began_s)
        assert timings.preprocess_ms > 20
        assert timings.compute_ms > 40
        assert timings.postprocess_ms > 10
        assert timings.encode_ms == timings.decode_ms == 0
        assert sum(timings.taken().values()) == pytest.approx(took_ms, abs=5)

    parts = slow("preprocess", 0.02) | slow("forward", 0.04) | slow("postprocess", 0.01)
    with_engine(scenario, replace(task, **parts))


def test_there_is_no_such_task() -> None:
    async def scenario(engine: Engine) -> None:
        with pytest.raises(Unavailable, match="no task poetry"):
            await engine.answer("poetry", ShoutRequest(text="a"))

    with_engine(scenario, shouting())


def slowly(*_: Any) -> list[dict[str, Any]]:
    time.sleep(0.3)
    return [{}]


@pytest.mark.alone
def test_an_answer_that_comes_too_late_is_not_waited_for(tmp_path: Path) -> None:
    slow = shouting(forward=slowly)

    async def scenario(engine: Engine) -> None:
        await engine.load(slow, tmp_path)
        start_s = time.monotonic()
        with pytest.raises(DeadlineExceeded, match=r"0\.05 s"):
            await engine.answer("shout", ShoutRequest(text="a"), timeout_s=0.05)
        assert time.monotonic() - start_s < 0.25
        assert (await engine.answer("shout", ShoutRequest(text="a"))).model == "shout:1"

    with_engine(scenario, slow)


@pytest.mark.parametrize("timeout_s", [0.0, -1.0])
def test_a_deadline_that_has_passed_is_exceeded(tmp_path: Path, timeout_s: float) -> None:
    async def scenario(engine: Engine) -> None:
        await engine.load(engine.tasks["shout"], tmp_path)
        with pytest.raises(DeadlineExceeded):
            await engine.answer("shout", ShoutRequest(text="a"), timeout_s=timeout_s)

    with_engine(scenario, shouting())


def test_a_client_cannot_wait_longer_than_the_service_allows(tmp_path: Path) -> None:
    slow = shouting(forward=slowly)

    async def scenario(engine: Engine) -> None:
        await engine.load(slow, tmp_path)
        engine.settings = Settings(threads=1, timeout_s=0.05)
        with pytest.raises(DeadlineExceeded):
            await engine.answer("shout", ShoutRequest(text="a"), timeout_s=100)

    with_engine(scenario, slow)


@pytest.mark.parametrize("stage", ["preprocess", "forward", "postprocess"])
def test_an_unexpected_exception_is_a_500_without_details(tmp_path: Path, stage: str) -> None:
    fine = shouting()
    bad = ShoutRequest(text="secret")
    right = getattr(fine, stage)

    def fails(*args: Any) -> Any:
        if stage == "forward" or args[0] == bad:
            raise RuntimeError("the secret of the house")
        return right(*args)

    async def scenario(engine: Engine) -> None:
        await engine.load(fine, tmp_path)
        in_memory(engine, "shout").task = replace(fine, **{stage: fails})
        if stage == "forward":
            in_memory(engine, "shout").lane.forward = fails  # type: ignore[attr-defined]
        with pytest.raises(Problem) as caught:
            await engine.answer("shout", bad)
        assert type(caught.value) is Problem
        assert caught.value.status == 500
        assert "secret" not in str(caught.value)

    with_engine(scenario, fine)


def test_a_problem_of_a_task_reaches_the_client_unchanged(tmp_path: Path) -> None:
    def refuse(request: ShoutRequest, _: Any) -> Any:
        raise InvalidInput("too loud", "text")

    async def scenario(engine: Engine) -> None:
        await engine.load(shouting(), tmp_path)
        in_memory(engine, "shout").task = shouting(preprocess=refuse)
        with pytest.raises(InvalidInput, match="text: too loud"):
            await engine.answer("shout", ShoutRequest(text="a"))

    with_engine(scenario, shouting())


def test_an_answer_does_not_depend_on_its_batch(tiny_translation: Path) -> None:
    requests = [
        Request(text=text, source="en", target=target, beam_size=beam_size, max_new_tokens=bound)
        for text, target, beam_size, bound in [
            ("I read the book here.", "de", 1, 9),
            ("We see. I read two houses. Here!", "fr", 1, 5),
            ("a", "de", 2, 7),
            ("I read the book here.", "fr", 2, 12),
        ]
    ]

    async def scenario(engine: Engine) -> None:
        await engine.load(TRANSLATION, tiny_translation)
        alone = [await engine.answer("translation", request) for request in requests]
        together = await asyncio.gather(
            *(engine.answer("translation", request) for request in requests)
        )
        for one, other in zip(alone, together, strict=True):
            texts = [[t.text for t in of.translations] for of in (one, other)]  # type: ignore[attr-defined]
            assert texts[0] == texts[1]
            scores = [[t.score for t in of.translations] for of in (one, other)]  # type: ignore[attr-defined]
            assert scores[0] == pytest.approx(scores[1], abs=1e-4)

    with_engine(scenario, TRANSLATION)


def test_a_closed_engine_is_not_ready_and_takes_nothing(tmp_path: Path) -> None:
    async def scenario(engine: Engine) -> None:
        await engine.load(engine.tasks["shout"], tmp_path)
        assert engine.ready()
        await engine.close()
        assert not engine.ready()
        with pytest.raises(Unavailable, match="shutting down"):
            await engine.answer("shout", ShoutRequest(text="a"))

    with_engine(scenario, shouting())


def test_closing_finishes_what_is_in_flight(tmp_path: Path) -> None:
    slow = shouting(forward=slowly)

    async def scenario(engine: Engine) -> None:
        await engine.load(slow, tmp_path)
        asked = asyncio.create_task(engine.answer("shout", ShoutRequest(text="a")))
        await asyncio.sleep(0.1)
        await engine.close()
        assert (await asked).model == "shout:1"

    with_engine(scenario, slow)


def test_what_cannot_be_read_in_time_is_refused_before_it_is_read(tmp_path: Path) -> None:
    read: list[str] = []

    def preprocess(request: ShoutRequest, _: Any) -> list[dict[str, Any]]:
        read.append(str(request.text))
        time.sleep(0.05)
        return [{"index": np.array(0)}]

    slow = shouting(preprocess=preprocess)

    async def scenario(engine: Engine) -> None:
        await engine.load(slow, tmp_path)
        patient = [
            asyncio.create_task(engine.answer("shout", ShoutRequest(text="patient")))
            for _ in range(6)
        ]
        await asyncio.sleep(0)
        with pytest.raises(Overloaded, match="6 requests for shout are being read") as caught:
            await engine.answer("shout", ShoutRequest(text="hurried"), timeout_s=0.1)
        assert caught.value.retry_after_s == pytest.approx(0.3, abs=0.2)
        await asyncio.gather(*patient)
        assert "hurried" not in read

    with_engine(scenario, slow)
