"""a predictor and a data split → the task's metric: the same measure for every way to answer.

A predictor answers a task's requests: from a torch checkpoint, from a model of the store, or
from a running service.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import httpx
import jiwer
from rich.progress import track
from sacrebleu import corpus_bleu
from whisper_normalizer.english import EnglishTextNormalizer

from models import checkpoint, frechet
from models.average_precision import average_precision
from models.datasets import Example
from models.reference import Reference
from service import store
from service.engine import Engine
from service.kinds import task_of
from service.schema import RequestModel, ResponseModel
from service.settings import Settings
from service.tasks import Task

Predictor = Callable[[RequestModel], Awaitable[ResponseModel]]
CONCURRENCY = 8
PATIENT_S = 3_600.0
"""How long an answer may take: its quality is asked for, whatever else the machine does."""


def _bleu(hypotheses: list[str], references: list[str]) -> float:
    return float(corpus_bleu(hypotheses, [references]).score)


def _accuracy(hypotheses: list[str], references: list[str]) -> float:
    pairs = list(zip(hypotheses, references, strict=True))
    return 100.0 * sum(a == b for a, b in pairs) / len(pairs)


def word_error_rate(hypotheses: list[str], references: list[str]) -> float:
    normal = EnglishTextNormalizer()
    return 100.0 * float(
        jiwer.wer([normal(r) for r in references], [normal(h) for h in hypotheses])
    )


@dataclass(frozen=True)
class Measure:
    """How a task is measured: its data sets, metric, and what of an answer is compared."""

    datasets: Sequence[str]
    """The first where none is named."""
    metric: str
    score: Callable[[list[Any], list[Any]], float | Mapping[str, float]]
    """What the answers of a group hold, and what they should hold → the figure, or some by name."""
    compared: Callable[[Any], list[Any]]
    higher_is_better: bool = True


MEASURES = {
    "translation": Measure(
        ("tatoeba", "multi30k"), "sacreBLEU", _bleu, lambda r: [t.text for t in r.translations]
    ),
    "image-classification": Measure(
        ("cifar10",), "accuracy, %", _accuracy, lambda r: [r.labels[0].label]
    ),
    "audio-classification": Measure(
        ("speech_commands",), "accuracy, %", _accuracy, lambda r: [r.labels[0].label]
    ),
    "automatic-speech-recognition": Measure(
        ("librispeech",),
        "word error rate, %",
        word_error_rate,
        lambda r: [r.text],
        higher_is_better=False,
    ),
    "object-detection": Measure(
        ("garment_scenes",), "average precision, %", average_precision, lambda r: [r.detections]
    ),
    "graph-classification": Measure(
        ("solubility",), "accuracy, %", _accuracy, lambda r: [r.labels[0].label]
    ),
    "node-classification": Measure(
        ("mushroom_body",), "accuracy, %", _accuracy, lambda r: [node.label for node in r.nodes]
    ),
    "unconditional-image-generation": Measure(
        ("fashion_mnist",),
        "Fréchet distance",
        frechet.distance,
        lambda r: [picture.image for picture in r.pictures],
        higher_is_better=False,
    ),
}


def examples(task: Task, data_dir: Path, split: str, dataset: str = "") -> list[Example]:
    """The split's requests, as a dataset file of the task makes them."""
    file = import_module(f"models.datasets.{dataset or MEASURES[task.name].datasets[0]}")
    return list(file.examples(data_dir, split))


def answerable(task: Task, folder: Path, data: list[Example]) -> list[Example]:
    """Those that the model of a folder can be asked: not all know the languages of the data."""
    if task.adapt is None:
        return data
    assets = task.load_assets(folder)
    return [each for each in data if task.adapt(each.request, assets) is each.request]


async def measure(predict: Predictor, task: Task, data: list[Example]) -> dict[str, float]:
    """Ask for every example, a few at a time, and score each group."""
    gate = asyncio.Semaphore(CONCURRENCY)

    async def ask(example: Example) -> ResponseModel:
        async with gate:
            return await predict(example.request)

    of = MEASURES[task.name]
    answers = [asyncio.ensure_future(ask(example)) for example in data]
    groups: dict[str, tuple[list[Any], list[Any]]] = {}
    for answer, example in track(list(zip(answers, data, strict=True)), task.name):
        hypotheses, references = groups.setdefault(example.group, ([], []))
        hypotheses += of.compared(await answer)
        references += example.references
    return {
        name: round(figure, 2)
        for group, both in groups.items()
        for name, figure in named(group, of.score(*both)).items()
    }


def named(group: str, scored: float | Mapping[str, float]) -> Mapping[str, float]:
    """A figure by the name of its group, or several by that and their own."""
    if isinstance(scored, Mapping):
        return {f"{group}, {name}": figure for name, figure in scored.items()}
    return {group: scored}


async def from_store(task: Task, settings: Settings, model: str = "") -> Predictor:
    """An exported model of the store, in this process; the task's own if none is named."""
    folder = store.locate(model or task.name)
    if folder is None:
        raise store.BrokenModel(
            f"{model or task.name}: no such model in the store; run make models"
        )
    return await from_folder(task, settings, folder)


async def from_folder(task: Task, settings: Settings, folder: Path) -> Predictor:
    """An exported model, in this process."""
    engine = Engine([task], settings)
    await engine.load(task, folder)
    if fault := engine.find(task.name).fault:
        raise store.BrokenModel(fault)
    return partial(engine.answer, task.name)


async def from_checkpoint(task: Task, settings: Settings, run_dir: Path) -> Predictor:
    """A training run, by torch, behind the same task."""
    of, model = checkpoint.load_model(run_dir)
    graphs = of.graphs(model)
    task = task_of(task, [graph.name for graph in graphs])
    # Torch copies whole caches at every step: a batch of its own size is what suits it.
    engine = Engine([task], settings.model_copy(update={"batching": "request"}))
    assets = task.load_assets(run_dir / "assets")
    engine.serve(task, f"{run_dir}", Reference(graphs), assets)
    return partial(engine.answer, task.name)


async def from_service(task: Task, url: str, model: str = "") -> Predictor:
    """A running service, over HTTP; the task's default answers if no model is named."""
    client = httpx.AsyncClient(base_url=url, timeout=120)

    async def predict(request: RequestModel) -> ResponseModel:
        request = request.model_copy(update={"model": model})
        values = dict(request)
        binary = {name: values.pop(name) for name in list(values) if type(values[name]) is bytes}
        if binary:
            reply = await client.post(f"/{task.name}", files=binary, data=values)
        else:
            reply = await client.post(f"/{task.name}", json=request.model_dump(mode="json"))
        reply.raise_for_status()
        return task.response.model_validate_json(reply.content)

    return predict
