"""Models of pictures and of graphs are exported with the attention that they state."""

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from export.model import export_model
from export.published import from_published
from export.source import Trained
from models.architectures import graph_attention, sagan
from models.catalogue import architecture
from service import manifest as manifests
from service.engine import Engine
from service.errors import InvalidInput
from service.manifest import Data
from service.schema import RequestModel, ResponseModel
from service.settings import Settings
from service.tasks import task

GENERATION = "unconditional-image-generation"
GRAPHS = graph_attention.PRESETS["testing"]
NODES = replace(GRAPHS, labelled="nodes", features=2)


def assets(folder: Path, labels: list[str], features: list[str] | None) -> list[Path]:
    contents = {"labels.json": labels} | ({} if features is None else {"features.json": features})
    for name, content in contents.items():
        (folder / name).write_text(json.dumps(content))
    return [folder / name for name in contents]


def a_gan(folder: Path, *, attending: bool = True) -> Trained:
    config = replace(sagan.PRESETS["testing"], attending=attending)
    torch.manual_seed(0)
    model = sagan.build(config)
    if attending:
        torch.nn.init.ones_(model.average.attention.scale)
    for module in model.average.modules():  # as if it had been trained
        if isinstance(module, sagan.ClassNorm):
            torch.nn.init.normal_(module.norm.running_mean)
            torch.nn.init.uniform_(module.norm.running_var, 0.5, 2)
    files = assets(folder, ["Bag", "Coat", "Sneaker"], None)
    data = Data(source="none", licence="none")
    return Trained(architecture("sagan"), model.eval(), files, data, recipe={})


@pytest.fixture(scope="module")
def gan(tmp_path_factory: pytest.TempPathFactory) -> tuple[Trained, Path]:
    """A generator, and the folder in which it is published."""
    return published(a_gan(tmp_path_factory.mktemp("attending")))


@pytest.fixture(scope="module")
def plain_gan(tmp_path_factory: pytest.TempPathFactory) -> tuple[Trained, Path]:
    """The same without attention."""
    return published(a_gan(tmp_path_factory.mktemp("plain"), attending=False))


def published(gan: Trained) -> tuple[Trained, Path]:
    folder = gan.assets[0].parent / GENERATION
    export_model(gan, name=GENERATION, target="cpu", folder=folder)
    return gan, folder


def of_graphs(folder: Path, config: graph_attention.Config) -> Trained:
    labels, features = ["low", "high"], ["C", "N", "O"] if config.labelled == "graphs" else []
    files, model = assets(folder, labels, features), graph_attention.build(config).eval()
    data = Data(source="none", licence="none")
    return Trained(architecture("graph_attention"), model, files, data, recipe={})


async def answer(name: str, folder: Path, request: RequestModel) -> ResponseModel:
    engine = Engine([task(name)], Settings(threads=1))
    await engine.load(engine.tasks[name], folder)
    assert engine.status()[name] == "ready"
    try:
        return await engine.answer(name, request)
    finally:
        await engine.close()


def test_a_generator_is_exported_with_the_one_attention_that_it_has(
    gan: tuple[Trained, Path], tmp_path: Path
) -> None:
    trained, folder = gan
    export_model(trained, name=GENERATION, target="onnx", folder=tmp_path / "onnx")
    for manifest in (manifests.read(folder), manifests.read(tmp_path / "onnx")):
        assert sum(manifest.parity.graphs["model"].attention_ops.values()) == 1
        assert not any("discriminator" in each for each in manifest.graphs["model"].weights)


def test_a_generator_without_attention_states_none(plain_gan: tuple[Trained, Path]) -> None:
    assert manifests.read(plain_gan[1]).parity.graphs["model"].attention_ops == {}


def test_a_generator_comes_back_from_what_was_published(gan: tuple[Trained, Path]) -> None:
    trained, folder = gan
    again = from_published(folder).model
    noise, labels = torch.randn(3, 128), torch.arange(3)
    # what was folded into a convolution is stored in float16
    torch.testing.assert_close(
        again(noise, labels), trained.model(noise, labels), atol=1e-3, rtol=0
    )


def test_a_published_generator_draws_what_was_asked_for(gan: tuple[Trained, Path]) -> None:
    _, folder = gan
    request = task(GENERATION).request(label="Coat", count=3, seed=5)
    first, again = (asyncio.run(answer(GENERATION, folder, request)) for _ in range(2))
    assert [one["label"] for one in first.model_dump()["pictures"]] == ["Coat"] * 3
    assert first.model_dump()["pictures"] == again.model_dump()["pictures"]
    explained = request.model_copy(update={"explain": True})
    told = asyncio.run(answer(GENERATION, folder, explained)).model_dump()
    maps = told.pop("attention")
    assert told["pictures"] == first.model_dump()["pictures"]
    assert [(each["name"], each["index"]) for each in maps] == [("attended", n) for n in range(3)]
    for each in maps:
        assert [axis["size"] for axis in each["axes"]] == [2, 2]
        assert sum(each["weights"]) == pytest.approx(1, abs=1e-4)


def test_a_generator_without_attention_has_nothing_to_tell(
    plain_gan: tuple[Trained, Path],
) -> None:
    request = task(GENERATION).request(label="Coat", explain=True)
    with pytest.raises(InvalidInput, match=r"explain: .* exported without the graph"):
        asyncio.run(answer(GENERATION, plain_gan[1], request))


@pytest.mark.parametrize("target", ["cpu", "onnx"])
@pytest.mark.parametrize("config", [NODES, GRAPHS], ids=["nodes", "graphs"])
def test_graph_attention_is_exported_with_an_attention_for_each_layer(
    config: graph_attention.Config, target: str, tmp_path: Path
) -> None:
    name = "node-classification" if config.labelled == "nodes" else "graph-classification"
    trained = of_graphs(tmp_path, config)
    manifest = export_model(trained, name=name, target=target, folder=tmp_path / name)
    ops = manifest.parity.graphs["model"].attention_ops
    assert list(ops.values()) == [config.layers]
    asked = task(name).example()
    given = asyncio.run(answer(name, tmp_path / name, asked)).model_dump()
    found = given["nodes" if config.labelled == "nodes" else "labels"]
    assert len(found) == (8 if config.labelled == "nodes" else config.classes)
    explained = asked.model_copy(update={"explain": True})
    told = asyncio.run(answer(name, tmp_path / name, explained)).model_dump()
    over_all, heads = told.pop("attention")
    size = len(explained.model_dump()["graph"]["nodes"])
    assert [axis["size"] for axis in heads["axes"]] == [2, 2, size, size]
    sizes = [size, size] if config.labelled == "nodes" else [size]
    weights = np.array(over_all["weights"]).reshape(sizes)
    assert weights.sum(-1) == pytest.approx(np.ones(sizes[:-1]), abs=1e-3)
    assert [found["label"] for found in told["nodes" if size == 8 else "labels"]] == [
        one["label"] for one in found
    ]
