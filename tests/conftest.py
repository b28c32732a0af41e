"""Options and fixtures of all tests."""

import gc
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import pytest

SENTENCES = [
    f"{who} {what} {where}."
    for who in ("I read", "Ich lese", "Je lis", "We see", "Wir sehen")
    for what in ("the book", "das Buch", "le livre", "two houses", "Häuser")
    for where in ("here", "hier")
]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--data-dir", default="data", help="folder with the data sets")
    parser.addoption(
        "--clients",
        default=".venv-clients/bin/python",
        help="interpreter of the environment with requirements/clients.txt",
    )
    parser.addoption("--image", help="the image of make image; without it, nothing runs in one")
    parser.addoption(
        "--ray",
        default=".venv-ray/bin/python",
        help="interpreter of the environment with requirements/ray.txt",
    )


def pytest_collection_finish() -> None:
    """What is imported by now stays: looking through it for garbage again takes a tenth of time."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def ray(request: pytest.FixtureRequest) -> Path:
    path = Path(request.config.getoption("--ray")).absolute()
    assert path.exists(), f"no interpreter {path}: run make ray, or give it with --ray"
    return path


@pytest.fixture(scope="session")
def data_dir(request: pytest.FixtureRequest) -> Path:
    path = Path(request.config.getoption("--data-dir"))
    assert path.is_dir(), f"no data folder {path}; give it with --data-dir"
    return path


@pytest.fixture(scope="session")
def clients(request: pytest.FixtureRequest) -> Path:
    path = Path(request.config.getoption("--clients")).absolute()
    assert path.exists(), f"no interpreter {path}: run make clients, or give it with --clients"
    return path


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Models of tests are so small that threads would mostly wait for each other."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def same_weights_every_time() -> None:
    """What a test draws does not depend on the tests before it."""
    import torch

    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def own_store(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or changes the model store of whoever runs it, or of another test."""
    from bentoml._internal.configuration.containers import BentoMLContainer

    BentoMLContainer.bentoml_home.set(str(tmp_path_factory.mktemp("bentoml")))
    # Both are made once and kept, wherever home is by then.
    for made_once in (BentoMLContainer.model_store_dir, BentoMLContainer.model_store):
        empty = type(made_once)(made_once._func)._cache
        monkeypatch.setattr(made_once, "_cache", empty)


@pytest.fixture(scope="session", autouse=True)
def translations_read_once() -> Iterator[None]:
    """The exporter else compiles its translations of all operators again for every graph."""
    from torch.onnx._internal._lazy_import import onnxscript_apis

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(onnxscript_apis, "get_torchlib_ops", cache(onnxscript_apis.get_torchlib_ops))
        yield


@pytest.fixture(scope="session", autouse=True)
def captured_once() -> Iterator[None]:
    """A module is captured by torch once, however often it is exported: by far the longest part.

    What it becomes in a target is translated and checked every time.
    """
    import torch

    program = torch.export.ExportedProgram
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.export, "export", once_for_each(torch.export.export))
        patch.setattr(program, "run_decompositions", once_for_each(program.run_decompositions))
        yield


def once_for_each(function: Any) -> Any:
    """The same function, which is called once for a first argument as long as that lives."""
    known: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()

    def answer(first: Any, *more: Any, **options: Any) -> Any:
        if first not in known:
            known[first] = function(first, *more, **options)
        return known[first]

    return answer


@pytest.fixture(scope="session")
def tiny_trained(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A translation model of random weights that knows German, English and French bytes."""
    from dataclasses import replace

    import torch
    from tokenizers import Tokenizer

    from export.source import Trained
    from models.catalogue import architecture
    from models.subword import train_subwords
    from service.manifest import Data

    vocabulary = tmp_path_factory.mktemp("assets") / "tokenizer.json"
    train_subwords(SENTENCES, vocab=300, languages=("en", "de", "fr"), path=vocabulary)
    of = architecture("transformer")
    of = replace(of, graphs=cache(of.graphs))  # the same modules, to be captured once
    vocab = Tokenizer.from_file(str(vocabulary)).get_vocab_size()
    torch.manual_seed(1)
    model = of.build(replace(of.presets["testing"], vocab=vocab, max_len=256)).eval()
    return Trained(
        of, model, assets=[vocabulary], data=Data(source="none", licence="none"), recipe={}
    )


@pytest.fixture(scope="session")
def tiny_translation(tiny_trained: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of that model as it is published; tests that change it work on a copy."""
    from export.model import export_model

    folder = tmp_path_factory.mktemp("published") / "translation"
    export_model(tiny_trained, name="translation", target="cpu", folder=folder)
    return folder


@pytest.fixture(scope="session")
def finished_run(tiny_trained: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder that training leaves of that model; tests that change it work on a copy."""
    import shutil

    from models import checkpoint
    from models.recipe import Recipe

    folder = tmp_path_factory.mktemp("runs") / "translation"
    (folder / "assets").mkdir(parents=True)
    shutil.copy(tiny_trained.assets[0], folder / "assets")
    recipe = Recipe(preset="testing", dataset="reversal", steps=1, learning_rate=1e-3)
    checkpoint.save(folder, tiny_trained.architecture, recipe, tiny_trained.model, [], step=1)
    (folder / "metrics.csv").write_text("step,dev_loss,dev_accuracy\n1,2.0,0.5\n")
    return folder


@pytest.fixture(scope="session")
def every_surface(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """The HTTP and the gRPC port of a service with every surface, in a process of its own."""
    from fake_service import started

    with started(tmp_path_factory.mktemp("scripted")) as (_, http, rpc):
        yield http, rpc


@pytest.fixture
def own_logging(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a command does to the logging of its process ends with the test."""
    import logging

    from service import logs

    for name in logs.UNUSED:
        monkeypatch.setattr(logging, name, getattr(logging, name))
    root, ours = logging.getLogger(), logging.getLogger("attendant")
    handlers, levels = list(root.handlers), (root.level, ours.level)
    root.handlers = []  # they would be closed
    yield
    for handler in root.handlers:
        handler.close()
    root.handlers = handlers
    root.setLevel(levels[0])
    ours.setLevel(levels[1])
