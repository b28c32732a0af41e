"""What the shipped models answer does not depend on what else is asked meanwhile."""

import asyncio
import random
from pathlib import Path

import numpy as np
import pytest

from models.evaluate import examples, from_folder
from service.manifest import SHIPPED
from service.schema import RequestModel, ResponseModel
from service.settings import Settings
from service.store import open_model
from service.tasks import task as task_of
from service.tasks import translation
from service.tasks.translation import Translation

pytestmark = pytest.mark.data


def sentences(data_dir: Path, number: int) -> list[RequestModel]:
    """Requests of one sentence each, of all directions, short and long, greedy and with beams."""
    task = task_of("translation")
    rng = random.Random(7)
    requests: list[RequestModel] = []
    for example in examples(task, data_dir, "test")[::8]:
        assert isinstance(example.request, translation.Request)
        for text in rng.sample(translation.texts_of(example.request), 6):
            joined = text if rng.random() < 0.9 else ", ".join([text.rstrip(".!?")] * 6)
            beam_size = rng.choice([1, 2, 4, 4])
            changes = {"text": joined, "beam_size": beam_size}
            requests.append(example.request.model_copy(update=changes))
    rng.shuffle(requests)
    return requests[:number]


def answers(response: ResponseModel) -> list[Translation]:
    assert isinstance(response, translation.Response)
    return response.translations


def test_a_translation_is_the_same_alone_and_among_others_that_come_and_go(data_dir: Path) -> None:
    task = task_of("translation")
    requests = sentences(data_dir, 100)

    async def scenario() -> None:
        ask = await from_folder(task, Settings(threads=2), SHIPPED / "translation")
        alone = [answers(await ask(request)) for request in requests]

        async def later(request: RequestModel, delay_s: float) -> list[Translation]:
            await asyncio.sleep(delay_s)
            return answers(await ask(request))

        for seed in range(2):
            rng = random.Random(seed)
            mixed = await asyncio.gather(*(later(each, rng.uniform(0, 2)) for each in requests))
            assert mixed == alone

    asyncio.run(scenario())


@pytest.mark.parametrize("name", ["image-classification", "audio-classification"])
def test_labels_are_the_same_alone_and_in_a_batch(name: str, data_dir: Path) -> None:
    task = task_of(name)
    folder = SHIPPED / name
    model, _ = open_model(folder, task, threads=2)
    assets = task.load_assets(folder)
    chosen = examples(task, data_dir, "dev")[:400:20]
    items = [item for example in chosen for item in task.preprocess(example.request, assets)]
    together = task.forward(model, assets, items)
    for item, row in zip(items, together, strict=True):
        (alone,) = task.forward(model, assets, [item])
        for key, array in row.items():
            assert np.allclose(alone[key], array, atol=1e-4)
