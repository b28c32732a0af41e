"""Models whose rows keep a state of fixed size, served like the others: both doors, one batch."""

import asyncio
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import SENTENCES
from test_service_life import OWN, Service, run, running

from export import quantize
from export.model import export_model
from export.precision import ranges, to_int8
from export.publish import seal
from export.published import from_published
from export.source import Trained
from models.catalogue import architecture
from models.reference import Reference
from models.subword import train_subwords
from service import manifest as manifests
from service import store
from service.int8 import SCALE
from service.manifest import Data
from service.pb import attendant_pb2 as pb
from service.tasks import task as task_named
from service.tasks.translation import Request, Response

VOCAB = 300
ASKED: list[dict[str, Any]] = [
    {"text": text, "beam_size": beam_size, "max_new_tokens": most}
    for text, beam_size, most in [
        ("I read the book.", 1, 30),
        ("We see two houses here, and the book, and the book again.", 4, 9),
        ("the", 8, 17),
        ("We see the book. I read two houses. We read.", 2, 12),
    ]
]


@dataclass(frozen=True)
class Published:
    """An architecture, the folder of a model of random weights, and the model by torch."""

    name: str
    folder: Path
    reference: Reference


@pytest.fixture(scope="module", params=["linear_attention", "seq2seq_attention"])
def published(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Published:
    name: str = request.param
    tmp_path = tmp_path_factory.mktemp(name)
    of = architecture(name)
    torch.manual_seed(0)
    model = of.build(replace(of.presets["testing"], vocab=VOCAB)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.6)  # sure of something, so that no rounding decides
    vocabulary = tmp_path / "tokenizer.json"
    train_subwords(SENTENCES, vocab=VOCAB, languages=("en", "de", "fr"), path=vocabulary)
    trained = Trained(
        of,
        model,
        assets=[vocabulary],
        data=Data(source="none", licence="none"),
        recipe={},
        task="translation",
    )
    folder = tmp_path / "recurrent"
    export_model(trained, name=folder.name, target="cpu", folder=folder)
    return Published(name, folder, Reference(of.graphs(model)))


def answered(reference: Reference, folder: Path) -> list[str]:
    """What torch answers, one request after the other."""
    task = task_named("translation")
    assets = task.load_assets(folder)
    expected = []
    for asked in ASKED:
        wanted = Request(source="en", target="de", **asked)
        items = task.preprocess(wanted, assets)
        answer = task.postprocess(wanted, assets, items, task.forward(reference, assets, items))
        assert isinstance(answer, Response)
        expected.append(answer.translations[0].text)
    return expected


async def over_rest(service: Service, asked: dict[str, Any]) -> tuple[str, str]:
    body = {"source": "en", "target": "de", "model": "recurrent", **asked}
    reply = await service.client.post("/translation", json=body)
    assert reply.status_code == 200, reply.text
    told = reply.json()
    return told["model"], told["translations"][0]["text"]


async def over_rpc(service: Service, asked: dict[str, Any]) -> tuple[str, str]:
    fields = {**asked, "text": [asked["text"]]}
    request = pb.TranslateRequest(source="en", target="de", model="recurrent", **fields)
    told = await service.stub.Translate(request)
    return told.model, told.translations[0].text


def test_both_doors_answer_as_torch_does_whoever_else_asks(published: Published) -> None:
    folder = published.folder
    tag, expected = store.install(folder), answered(published.reference, folder)
    assert len(set(expected)) > 1, "the model of this test should tell sentences apart"

    async def scenario() -> None:
        async with running(*OWN, models="*") as service:
            asked = [ask(service, each) for ask in (over_rest, over_rpc) for each in ASKED * 3]
            answers = await asyncio.gather(*asked)
            assert answers == [(tag, text) for text in expected] * 6

    run(scenario)


def test_both_doors_tell_the_alignment(published: Published) -> None:
    store.install(published.folder)
    shape = {"linear_attention": [2, 2], "seq2seq_attention": [1, 1]}[published.name]
    fields = {"source": "en", "target": "de", "model": "recurrent", "explain": True}

    async def scenario() -> None:
        async with running(*OWN, models="*") as service:
            for asked in ASKED:
                reply = (await service.client.post("/translation", json=fields | asked)).json()
                request = pb.TranslateRequest(**fields | asked | {"text": [asked["text"]]})
                message = await service.stub.Translate(request)
                tokens = 0
                for one, other in zip(reply["attention"], message.attention, strict=True):
                    assert (one["name"], other.name) == ("alignment", "alignment")
                    sizes = [axis["size"] for axis in one["axes"]]
                    assert sizes[:2] == shape
                    weights = np.array(one["weights"]).reshape(sizes)
                    assert weights.sum(-1) == pytest.approx(np.ones(sizes[:-1]), abs=1e-3)
                    assert list(other.weights) == pytest.approx(one["weights"], abs=1e-4)
                    tokens += sizes[2]
                assert tokens == reply["translations"][0]["tokens"]

    run(scenario)


def test_int8_is_for_matrices_and_not_for_what_passes_between_the_graphs(
    published: Published, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(shutil.copytree(published.folder, tmp_path / "recurrent"))
    manifest = manifests.read(folder)
    assert ranges(folder, tmp_path) == ({}, {})
    monkeypatch.setattr(quantize, "LEAST_ELEMENTS", 256)
    rounded = seal(folder, to_int8(folder, manifest, {}, {}))
    assert rounded.version != manifest.version
    told = rounded.graphs["attention"].weights
    # What a loop multiplies with stays in floats.
    assert any(weight.endswith(SCALE) for weight in told) == (published.name == "linear_attention")
    store.open_model(folder, task_named("translation"), threads=1)  # raises if a graph is wrong


def test_a_published_folder_is_exported_again(published: Published, tmp_path: Path) -> None:
    trained = from_published(published.folder)
    again = export_model(trained, name="again", target="onnx", folder=tmp_path / "again")
    assert again.parity.graphs.keys() == {"encoder", "decoder", "attention"}
