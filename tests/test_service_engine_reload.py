"""A newer model takes over under load: nothing fails, and each answer is of one version."""

import asyncio
from collections.abc import Iterable
from pathlib import Path

import bentoml
import pytest
from fake_models import in_memory, with_engine
from versions import another_version

from service import store
from service.engine import Engine
from service.tasks import task
from service.tasks.translation import Request, Response

TRANSLATION = task("translation")
REQUESTS = [
    Request(text=text, source="en", target="de", max_new_tokens=12)
    for text in ("I read the book.", "We see two houses here.", "I read.")
]


def texts(answers: Iterable[object]) -> list[str]:
    return [answer.translations[0].text for answer in answers if isinstance(answer, Response)]


async def asked(engine: Engine) -> list[str]:
    return texts([await engine.answer("translation", request) for request in REQUESTS])


def test_every_answer_under_load_is_wholly_of_one_version(
    tiny_translation: Path, tmp_path: Path
) -> None:
    first = store.install(tiny_translation)

    async def scenario(engine: Engine) -> None:
        await engine.start()
        expected = {first: await asked(engine)}
        before = in_memory(engine, "translation")
        seen: list[tuple[str, int, str]] = []
        done = False

        async def client(which: int) -> None:
            while not done:
                answer = await engine.answer("translation", REQUESTS[which])
                seen.append((answer.model, which, *texts([answer])))

        clients = [asyncio.create_task(client(i % len(REQUESTS))) for i in range(9)]
        await asyncio.sleep(0.2)
        second = store.install(another_version(tiny_translation, tmp_path / "second"))
        await engine.models.reload()
        await asyncio.sleep(0.2)
        done = True
        await asyncio.gather(*clients)
        expected[second] = await asked(engine)
        assert expected[first] != expected[second]
        assert {model for model, _, _ in seen} == {first, second}
        assert all(text == expected[model][which] for model, which, text in seen)
        assert (before.gate.inside, before.lane.queue.closed) == (0, True)

    with_engine(scenario, TRANSLATION)


def test_a_broken_newer_version_is_reported_and_the_old_one_stays(
    tiny_translation: Path, tmp_path: Path
) -> None:
    first = store.install(tiny_translation)

    async def scenario(engine: Engine) -> None:
        await engine.start()
        second = store.install(another_version(tiny_translation, tmp_path / "second"))
        Path(bentoml.models.get(second).path, "decoder.onnx").write_bytes(b"nothing")
        await engine.models.reload()
        assert (await engine.answer("translation", REQUESTS[0])).model == first
        assert "decoder.onnx is changed" in engine.status()["translation"]
        assert engine.status()["translation"].startswith("ready")

    with_engine(scenario, TRANSLATION)


def test_a_model_that_was_missing_is_served_once_it_is_there(tiny_translation: Path) -> None:
    async def scenario(engine: Engine) -> None:
        await engine.start()
        assert not engine.ready()
        store.install(tiny_translation)
        await engine.models.reload()
        assert engine.status() == {"translation": "ready"}

    with_engine(scenario, TRANSLATION)


def test_nothing_happens_where_nothing_is_newer(
    tiny_translation: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.install(tiny_translation)

    async def scenario(engine: Engine) -> None:
        await engine.start()
        before = in_memory(engine, "translation")
        await engine.models.reload()
        assert in_memory(engine, "translation") is before

    with_engine(scenario, TRANSLATION)
