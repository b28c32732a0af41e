"""Requests with `explain`: items are marked, maps bounded, and other requests stay as they are."""

import shutil
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_models import shouting, with_engine
from fake_tasks import ShoutRequest
from pydantic import TypeAdapter

from service import explanation, store
from service import manifest as manifests
from service.contract import Arrays, Tensor
from service.decoder import Pass
from service.engine import Engine
from service.errors import InvalidInput, Unavailable
from service.explanation import (
    GRAPH,
    MARK,
    MAX_ITEMS,
    MAX_WEIGHTS,
    Axis,
    Weights,
    drawn,
    either,
    marked,
)
from service.kinds import task_of
from service.manifest import GraphFile
from service.search import Hypothesis
from service.session import open_graph
from service.store import open_model
from service.tasks import Item, Row, task, tasks, translation
from service.tasks import audio_classification as audio
from service.tasks import image_classification as image


def test_a_map_says_what_its_axes_are() -> None:
    time = Axis(name="time", size=2, begins_s=[0.0, 0.5])
    (found,) = drawn([Weights("heads", np.array([[0.25, 1 / 3]] * 3), ["head", time], index=4)])
    assert [(axis.name, axis.size) for axis in found.axes] == [("head", 3), ("time", 2)]
    assert found.weights == [0.25, 0.33333] * 3
    assert (found.name, found.index) == ("heads", 4)


def test_an_answer_holds_so_many_weights_and_no_more() -> None:
    half = np.zeros(MAX_WEIGHTS // 2, np.float32)
    assert len(drawn([Weights("a", half, ["x"])] * 2)) == 2
    with pytest.raises(InvalidInput, match=f"explain: .* of at most {MAX_WEIGHTS}"):
        drawn([*[Weights("a", half, ["x"])] * 2, Weights("b", half[:1], ["x"])])


def test_so_many_items_are_marked_and_no_more() -> None:
    items: list[Item] = [{"number": np.array(number)} for number in range(MAX_ITEMS + 1)]
    assert all(MARK in item for item in marked(items[1:]))
    assert MARK not in items[1], "an item of the caller has been changed"
    with pytest.raises(InvalidInput, match=f"explain: at most {MAX_ITEMS} .* are {MAX_ITEMS + 1}"):
        marked(items)


def test_each_item_gets_the_row_of_its_graph() -> None:
    plain: list[Item] = [{"number": np.array(number)} for number in range(4)]
    items = [plain[0], *marked([plain[1]]), plain[2], *marked([plain[3]])]
    runs = []

    def run(graph: str, chosen: Sequence[Item]) -> list[Row]:
        runs.append((graph, len(chosen)))
        return [{graph: item["number"]} for item in chosen]

    rows = either(items, "model", run)
    assert rows == [{"model": 0}, {"attention": 1}, {"model": 2}, {"attention": 3}]
    assert runs == [("model", 2), ("attention", 2)]
    either(plain, "model", run)
    assert runs[2:] == [("model", 4)], "the graph that explains has run for nobody"


class Maps:
    """A runner whose every map is as it should be, and says which graph it is from."""

    def __init__(self, shapes: dict[str, tuple[int, ...]]) -> None:
        self.shapes, self.runs = shapes, list[str]()

    def tensors(self, graph: str) -> dict[str, Tensor]:
        raise AssertionError

    def run(self, graph: str, inputs: Arrays) -> dict[str, np.ndarray]:
        self.runs.append(graph)
        batch = len(next(iter(inputs.values())))
        logits = {"logits": np.array([[1.0, 3.0, 2.0]] * batch, np.float32)}
        if graph == "model":
            return logits
        return logits | {
            name: np.full((batch, *shape), 0.5, np.float32) for name, shape in self.shapes.items()
        }

    def bind(self, graph: str, inputs: Arrays, outputs: Arrays) -> Any:
        raise AssertionError


def test_a_picture_comes_with_its_maps_where_they_are_asked_for() -> None:
    runner = Maps({"rollout": (4, 4), "heads": (2, 3, 4, 4)})
    assets = image.Assets(["ant", "bee", "cat"])
    request = image.example().model_copy(update={"explain": True})
    items = marked(image.preprocess(request, assets))
    answer = image.postprocess(request, assets, items, image.forward(runner, assets, items))
    assert runner.runs == ["attention"]
    assert answer.labels[0].label == "bee"
    assert [[axis.name for axis in each.axes] for each in answer.attention] == [
        ["row", "column"],
        ["layer", "head", "row", "column"],
    ]
    assert [len(each.weights) for each in answer.attention] == [16, 96]


def test_a_translation_comes_with_its_alignment_and_where_a_model_halts_with_the_steps() -> None:
    of = task("translation")
    assets, request = of.load_assets(manifests.SHIPPED / "translation"), of.example()
    (item,) = items = of.preprocess(request, assets)
    read, written = len(item["source"]), item["source"][:2]

    target = len(item["prompt"]) + len(written) + 3
    padded = {
        "weights": np.full((3, 2, target, read + 4), 0.5, np.float32),
        "source_steps": np.arange(read + 4),
        "target_steps": np.arange(target),
    }
    way = translation.generate(marked(items)[0], assets)
    next(way)
    asked = way.send([Hypothesis(written.tolist(), -1.0)])
    assert isinstance(asked, Pass)
    assert asked.graph == GRAPH
    with pytest.raises(StopIteration) as stopped:
        way.send(padded)
    answer = of.postprocess(request, assets, items, [stopped.value.value])
    alignment, of_source, of_target = answer.attention
    assert [(axis.name, axis.size) for axis in alignment.axes] == [
        ("layer", 3), ("head", 2), ("target", 3), ("source", read),
    ]  # fmt: skip
    assert [each.name for each in (of_source, of_target)] == ["halting"] * 2
    assert (of_source.axes, of_target.axes) == ([alignment.axes[3]], [alignment.axes[2]])
    first = len(item["prompt"]) - 1
    assert of_source.weights == list(range(read))
    assert of_target.weights == [first, first + 1, first + 2]


@pytest.mark.parametrize(("centred", "begin_s"), [(True, -0.25), (False, 0.0)])
def test_a_recording_comes_with_the_times_of_what_was_heard(centred: bool, begin_s: float) -> None:
    runner = Maps({"rollout": (25,), "heads": (2, 3, 25)})
    assets = audio.Assets(["_silence_", "yes", "no"], centred=centred)
    item = {"features": np.zeros((98, 64)), "start_s": np.array(0.0), "heard_s": np.array(begin_s)}
    items = marked([item])
    request = audio.example()
    answer = audio.postprocess(request, assets, items, audio.forward(runner, assets, items))
    over_all, by_head = answer.attention
    assert [axis.name for axis in by_head.axes] == ["layer", "head", "time"]
    assert over_all.axes[0].begins_s[:2] == [begin_s, begin_s + 0.04]


def test_a_short_recording_begins_before_it_is_heard() -> None:
    import io

    import soundfile

    buffer = io.BytesIO()
    soundfile.write(buffer, np.zeros(8_000), 16_000, format="FLAC")
    request = audio.Request(audio=buffer.getvalue())
    for centred, heard_s in ((True, -0.25), (False, 0.0)):
        (item,) = audio.preprocess(request, audio.Assets(["yes"], centred=centred))
        assert (float(item["start_s"]), float(item["heard_s"])) == (0.0, heard_s)


def test_a_model_without_the_graph_says_so() -> None:
    async def scenario(engine: Engine) -> None:
        await engine.load(engine.tasks["shout"], Path("shout"))
        with pytest.raises(InvalidInput, match=r"^explain: .* exported without the graph"):
            await engine.answer("shout", ShoutRequest(text="a", explain=True))
        assert (await engine.answer("shout", ShoutRequest(text="a"))).attention == []

    with_engine(scenario, shouting())


@pytest.mark.parametrize("name", [task.name for task in tasks()])
def test_one_graph_of_a_task_may_explain_and_models_may_lack_it(name: str) -> None:
    of = task(name)
    explaining = set(of.contract) & set(explanation.GRAPHS)
    assert len(explaining) <= 1
    assert all(of.contract[graph].aside for graph in explaining)
    if explaining:
        explanation.check(of.contract)
    without = task_of(of, set(of.contract) - explaining)
    with pytest.raises(InvalidInput):
        explanation.check(without.contract)


def test_who_asks_first_opens_the_graph_once(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    everyone = threading.Barrier(4)

    def opening(folder: Path, entry: GraphFile, weights: Arrays, *, threads: int) -> Any:
        opened.append(entry.file)
        return open_graph(folder, entry, weights, threads=threads)

    monkeypatch.setattr(store, "open_graph", opening)
    model, _ = open_model(
        manifests.SHIPPED / "image-classification", task("image-classification"), threads=1
    )
    assert opened == ["model.onnx"]

    def ask(_: int) -> set[str]:
        everyone.wait()
        return set(model.tensors(GRAPH))

    with ThreadPoolExecutor(everyone.parties) as pool:
        answers = list(pool.map(ask, range(everyone.parties)))
    assert all(answer >= {"rollout", "heads"} for answer in answers)
    assert opened == ["model.onnx", f"{GRAPH}.onnx"]


def test_a_graph_that_cannot_be_opened_is_told_to_those_who_ask_for_it(tmp_path: Path) -> None:
    folder = tmp_path / "image-classification"
    shutil.copytree(manifests.SHIPPED / "image-classification", folder)
    request = image.example()
    asked = request.model_copy(update={"explain": True})

    async def scenario(engine: Engine) -> None:
        await engine.load(engine.tasks["image-classification"], folder)
        whole = (folder / f"{GRAPH}.onnx").read_bytes()
        (folder / f"{GRAPH}.onnx").write_bytes(whole[:-1])
        with pytest.raises(Unavailable, match=r"classification:\w{12}: attention\.onnx is changed"):
            await engine.answer("image-classification", asked)
        assert not (await engine.answer("image-classification", request)).attention
        (folder / f"{GRAPH}.onnx").write_bytes(whole)
        assert (await engine.answer("image-classification", asked)).attention

    with_engine(scenario, task("image-classification"))


def test_an_answer_that_is_not_explained_does_not_mention_it() -> None:
    response = image.Response(labels=[])
    assert "attention" not in response.model_dump()
    assert b"attention" not in TypeAdapter(image.Response).dump_json(response)
    explained = image.Response(labels=[], attention=drawn([Weights("a", np.ones(2), ["x"])]))
    assert explained.model_dump()["attention"][0]["weights"] == [1.0, 1.0]


@pytest.mark.parametrize("name", ["audio-classification", "image-classification"])
def test_a_shipped_model_explains_the_very_answer_that_it_gives(name: str) -> None:
    of, folder = task(name), manifests.SHIPPED / name
    model, _ = open_model(folder, of, threads=1)
    assets, request = of.load_assets(folder), of.example()
    plain = of.preprocess(request, assets)
    answers = [
        of.postprocess(request, assets, items, of.forward(model, assets, items))
        for items in (plain, marked(plain))
    ]
    assert answers[1].attention
    assert answers[0] == answers[1].model_copy(update={"attention": []})
