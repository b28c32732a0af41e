"""The tuner lets ways take turns, keeps those that lose no quality, and the service obeys it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from export import tune
from export.gate import GateError
from export.model import export_model
from export.published import from_published
from export.source import Trained
from export.tune import Way, fastest, measure
from service import manifest as manifests
from service import session, store
from service.manifest import Measured
from service.tasks import Item
from service.tasks import task as task_of

TRANSLATION = task_of("translation")


def took(way: str, *medians_ms: float) -> list[Measured]:
    return [
        Measured(way=way, batch=batch, median_ms=ms, least_ms=ms, rounds=5)
        for batch, ms in zip((1, 4, 16), medians_ms, strict=True)
    ]


def test_the_fastest_way_is_so_over_all_batch_sizes() -> None:
    one_sided = took("best alone", 1.0, 40.0, 200.0)
    assert fastest([*one_sided, *took("even", 2.0, 10.0, 60.0)]) == "even"


def items() -> list[Item]:
    item = {
        "source": np.array([4, 7, 9, 1]),
        "prompt": np.array([4]),
        "beam_size": np.array(1),
        "max_new_tokens": np.array(3),
        "length_penalty": np.array(1.0),
        "alternatives": np.array(0),
    }
    return [item]


def test_every_way_is_measured_at_every_batch_size(tiny_translation: Path) -> None:
    ways = [Way(tiny_translation, "cpu", "float32", threads) for threads in (1, 2)]
    measured = measure(TRANSLATION, ways, items(), rounds=5)
    assert {(each.way, each.batch) for each in measured} == {
        (way.name, batch) for way in ways for batch in tune.BATCHES
    }
    assert all(0 < each.least_ms <= each.median_ms for each in measured)


@pytest.fixture(scope="module")
def tuned(
    tiny_trained: Trained, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, manifests.Manifest]:
    """Tuned where int8 loses too much, without the data."""

    def spoilt(*_: Any, **__: Any) -> None:
        raise GateError("0.3 points may be lost")

    folder = tmp_path_factory.mktemp("tuned")
    ways = took("cpu float32, 1 threads", 1, 2, 3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tune, "change_precision", spoilt)
        patch.setattr(tune, "installed", lambda provider: provider == "cpu")
        patch.setattr(tune, "examples", lambda *_: [])
        patch.setattr(tune, "measure", lambda *_, **__: ways)
        return tune.tune(tiny_trained, "translation", folder, data_dir=folder, threads=2, rounds=5)


def test_the_choice_and_its_measurements_are_in_the_manifest(
    tuned: tuple[Path, manifests.Manifest],
) -> None:
    folder, manifest = tuned
    assert manifest == manifests.read(folder)
    assert manifest.tuning is not None
    assert manifest.tuning.way == "cpu float32, 1 threads"
    assert [each.median_ms for each in manifest.tuning.measured] == [1, 2, 3]
    assert manifest.tuning.refused == {
        "cpu int8": "0.3 points may be lost",
        "openvino float32": "openvino is not installed here",
        "openvino bfloat16": "openvino is not installed here",
        "openvino int8": "openvino is not installed here",
    }


def test_the_service_uses_as_many_threads_as_were_chosen(
    tuned: tuple[Path, manifests.Manifest], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, manifest = tuned
    assert {entry.threads for entry in manifest.graphs.values()} == {1}
    used: list[int] = []
    opened = session.open_session

    def noted(*arguments: Any, threads: int, **more: Any) -> Any:
        used.append(threads)
        return opened(*arguments, threads=threads, **more)

    monkeypatch.setattr(session, "open_session", noted)
    model, _ = store.open_model(folder, TRANSLATION, threads=4)
    for graph in manifest.graphs:
        model.tensors(graph)
    assert used == [1] * len(manifest.graphs)


def test_a_published_model_is_the_module_it_came_from(tmp_path: Path) -> None:
    name = "audio-classification"
    trained = from_published(manifests.SHIPPED / name)
    assert {path.name for path in trained.assets} == {"labels.json"}
    folder = tmp_path / name
    export_model(trained, name=name, target="cpu", folder=folder)
    trained = from_published(folder)
    graph, _ = trained.architecture.graphs(trained.model)
    inputs = graph.inputs(batch=2)
    served, _ = store.open_model(folder, task_of("audio-classification"), threads=1)
    found = served.run("model", {name: tensor.numpy() for name, tensor in inputs.items()})
    with torch.no_grad():
        wanted = trained.model(*inputs.values())
    assert found["logits"] == pytest.approx(wanted.numpy(), abs=1e-4)
