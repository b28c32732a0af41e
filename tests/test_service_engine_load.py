"""One broken model stops nothing but itself, and says what is wrong with it."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fake_models import shouting, with_engine
from fake_tasks import ShoutRequest

from service import store
from service.contract import Graph, Tensor
from service.engine import Engine
from service.errors import Unavailable
from service.tasks import task
from service.tasks.translation import Request

TRANSLATION = task("translation")
GENERATION = TRANSLATION.generation
assert GENERATION


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
        assert "source is int64, not float32" in fault
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


def test_a_model_of_other_languages_is_tried_with_those(copy: Path) -> None:
    foreign = replace(
        TRANSLATION, example=lambda: Request(text="a", source="eng_Latn", target="deu_Latn")
    )
    asked: list[tuple[str, str]] = []

    def preprocess(request: Request, assets: Any) -> list[dict[str, Any]]:
        asked.append((request.source, request.target))
        return TRANSLATION.preprocess(request, assets)

    async def scenario(engine: Engine) -> None:
        await engine.load(replace(foreign, preprocess=preprocess), copy)
        assert engine.status()["translation"] == "ready"
        assert asked == [("en", "de")]

    with_engine(scenario, foreign)


def broken(*_: Any) -> Any:
    raise RuntimeError("shapes differ")


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"forward": broken, "generation": None}, id="forward"),
        pytest.param({"generation": replace(GENERATION, encode=broken)}, id="encode"),
        pytest.param({"generation": replace(GENERATION, generate=broken)}, id="generate"),
        pytest.param({"example": broken}, id="example"),
    ],
)
def test_a_model_that_cannot_answer_its_example_is_left_out(
    copy: Path, changes: dict[str, Any]
) -> None:
    async def scenario(engine: Engine) -> None:
        await engine.load(engine.tasks["translation"], copy)
        await engine.load(engine.tasks["shout"], copy)
        assert "its example is not answered" in engine.status()["translation"]
        assert engine.status()["shout"] == "ready"

    with_engine(scenario, replace(TRANSLATION, **changes), shouting())


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
        assert {"encode", "decode"} <= answer.timings_ms.taken().keys()

    with_engine(scenario, TRANSLATION)
