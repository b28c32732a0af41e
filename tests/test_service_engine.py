"""One broken model stops nothing but itself, and every failure is a problem with a name."""

import asyncio
import json
import shutil
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_tasks import SHOUT, ShoutRequest, shout

from service import store
from service.contract import Graph, Tensor
from service.engine import Engine
from service.errors import DeadlineExceeded, InvalidInput, Problem, Unavailable
from service.settings import Settings
from service.tasks import Task, task
from service.tasks.translation import Request

TRANSLATION = task("translation")
SETTINGS = Settings(threads=1)


def shouting(**changes: Any) -> Task:
    """The fake task with a model of no graphs, so that the engine can run it."""

    def preprocess(request: ShoutRequest, _: Any) -> list[dict[str, Any]]:
        return [{"index": np.array(0)}]

    task = replace(
        SHOUT,
        load_assets=lambda folder: None,
        preprocess=preprocess,
        forward=lambda model, assets, items: [{} for _ in items],
        postprocess=lambda request, assets, items, rows: shout(request),
        cost=lambda item: 1,
    )
    return replace(task, **changes)


@pytest.fixture(autouse=True)
def no_graphs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fake task's folder is whatever it is asked for."""
    right = store.open_model

    class Named:
        name = "shout:1"

    def open_model(folder: Path, task: Task, *, threads: int) -> Any:
        return (Named(), None) if task.name == "shout" else right(folder, task, threads=threads)

    monkeypatch.setattr(store, "open_model", open_model)


def with_engine(scenario: Callable[[Engine], Awaitable[Any]], *tasks: Task) -> None:
    async def run() -> None:
        engine = Engine(tasks, SETTINGS)
        async with asyncio.timeout(30):
            await scenario(engine)
            await engine.close()

    asyncio.run(run())


@pytest.fixture
def copy(tiny_translation: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_translation, tmp_path / "copy"))


def corrupt(folder: Path) -> None:
    weights = folder / "weights.safetensors"
    raw = bytearray(weights.read_bytes())
    raw[-1] ^= 1
    weights.write_bytes(raw)


def lose_a_graph(folder: Path) -> None:
    (folder / "decoder.onnx").unlink()


def garble_the_manifest(folder: Path) -> None:
    (folder / "manifest.json").write_text("{")


def lose_the_manifest(folder: Path) -> None:
    (folder / "manifest.json").unlink()


def add_a_field(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, "from_the_future": 1}))


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (corrupt, ["weights.safetensors is changed"]),
        (lose_a_graph, ["decoder.onnx is missing"]),
        (garble_the_manifest, ["manifest"]),
        (lose_the_manifest, ["manifest"]),
        (add_a_field, ["manifest", "from_the_future"]),
    ],
)
def test_a_damaged_model_is_named_and_the_other_task_is_served(
    copy: Path, damage: Callable[[Path], None], words: list[str]
) -> None:
    damage(copy)

    async def scenario(engine: Engine) -> None:
        await engine.load(engine.tasks["translation"], copy)
        await engine.load(engine.tasks["shout"], copy)
        fault = engine.status()["translation"]
        assert fault.startswith("translation:"), fault
        for word in words:
            assert word in fault
        with pytest.raises(Unavailable) as caught:
            await engine.answer("translation", Request(text="a", source="en", target="de"))
        assert caught.value.detail == fault
        assert engine.ready()
        assert engine.status()["shout"] == "ready"
        assert (await engine.answer("shout", ShoutRequest(text="a"))).model == "shout:1"

    with_engine(scenario, TRANSLATION, shouting())


def test_a_graph_that_differs_from_the_contract_is_refused_by_name(copy: Path) -> None:
    encoder = TRANSLATION.contract["encoder"]
    other = Graph({**encoder.inputs, "source": Tensor("float32", ("batch",))}, encoder.outputs)
    changed = replace(TRANSLATION, contract={**TRANSLATION.contract, "encoder": other})

    async def scenario(engine: Engine) -> None:
        await engine.load(changed, copy)
        fault = engine.status()["translation"]
        assert "encoder.onnx" in fault
        assert "source is tensor(int64), not float32" in fault
        assert not engine.ready()

    with_engine(scenario, changed)


def test_a_contract_with_another_graph_is_refused_by_name(copy: Path) -> None:
    more = replace(TRANSLATION, contract={**TRANSLATION.contract, "vocoder": Graph({}, {})})

    async def scenario(engine: Engine) -> None:
        await engine.load(more, copy)
        assert "lacks vocoder" in engine.status()["translation"]

    with_engine(scenario, more)


def test_assets_that_cannot_be_read_leave_the_task_out(copy: Path) -> None:
    def unreadable(folder: Path) -> None:
        raise ValueError("labels.json is empty")

    async def scenario(engine: Engine) -> None:
        for each in engine.tasks.values():
            await engine.load(each, copy)
        assert "labels.json is empty" in engine.status()["translation"]
        assert engine.status()["shout"] == "ready"

    with_engine(scenario, replace(TRANSLATION, load_assets=unreadable), shouting())


def broken(*_: Any) -> Any:
    raise RuntimeError("shapes differ")


@pytest.mark.parametrize("part", ["forward", "example"])
def test_a_model_that_cannot_answer_its_example_is_left_out(copy: Path, part: str) -> None:
    async def scenario(engine: Engine) -> None:
        await engine.load(engine.tasks["translation"], copy)
        await engine.load(engine.tasks["shout"], copy)
        assert "its example is not answered" in engine.status()["translation"]
        assert engine.status()["shout"] == "ready"

    with_engine(scenario, replace(TRANSLATION, **{part: broken}), shouting())


class Panic(BaseException):
    """What a library in Rust raises is no Exception."""


@pytest.mark.parametrize("part", ["preprocess", "forward", "postprocess"])
def test_a_panic_is_a_failure_of_one_request(copy: Path, part: str) -> None:
    task = shouting()

    def panics(*given: Any) -> Any:
        if "panic" in str(engine_asked[-1]):
            raise Panic
        return getattr(task, part)(*given)

    engine_asked: list[str] = []

    async def scenario(engine: Engine) -> None:
        await engine.load(engine.tasks["shout"], copy)
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


def test_a_store_without_the_model_says_what_to_do() -> None:
    async def scenario(engine: Engine) -> None:
        assert engine.status() == {"translation": "loading"}
        await engine.start()
        assert "make models" in engine.status()["translation"]
        assert not engine.ready()

    with_engine(scenario, TRANSLATION)


def test_the_store_serves_what_was_installed(copy: Path) -> None:
    tag = store.install(copy)

    async def scenario(engine: Engine) -> None:
        await engine.start()
        assert engine.status() == {"translation": "ready"}
        request = Request(text="I read.", source="en", target="de", max_new_tokens=3)
        answer = await engine.answer("translation", request)
        assert answer.model == tag
        assert answer.timings_ms.compute_ms > 0

    with_engine(scenario, TRANSLATION)


def test_there_is_no_such_task() -> None:
    async def scenario(engine: Engine) -> None:
        with pytest.raises(Unavailable, match="no task poetry"):
            await engine.answer("poetry", ShoutRequest(text="a"))

    with_engine(scenario, shouting())


def slowly(*_: Any) -> list[dict[str, Any]]:
    time.sleep(0.3)
    return [{}]


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
        broken = replace(fine, **{stage: fails})
        engine.tasks = {"shout": broken}
        if stage == "forward":
            engine.loaded["shout"].batcher.forward = fails
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
        engine.tasks = {"shout": shouting(preprocess=refuse)}
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
