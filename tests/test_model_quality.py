"""The shipped models, as they are served, reach the quality they are shipped for."""

import asyncio
from pathlib import Path

import pytest

from models.evaluate import PATIENT_S, examples, from_store, measure
from service.settings import Settings
from service.setup import install_shipped
from service.tasks import task as task_of

FLOORS = {
    "audio-classification": {"test": 90.0},
    "graph-classification": {"test": 70.0},
    "image-classification": {"test": 89.0},
    "node-classification": {"test": 90.0},
    "object-detection": {"test, IoU 0.50": 80.0},
    "translation": {"en→de": 34.0, "de→en": 39.0, "en→fr": 40.0, "fr→en": 42.0},
}
IN_PACKAGES = {"graph-classification", "node-classification", "object-detection"}
"""Their data is not in every data folder: packages ship it, and where there is none they wait."""


async def figures(name: str, data_dir: Path) -> dict[str, float]:
    task = task_of(name)
    predict = await from_store(task, Settings(timeout_s=PATIENT_S))
    return await measure(predict, task, examples(task, data_dir, "test"))


@pytest.mark.data
@pytest.mark.parametrize("name", sorted(FLOORS))
def test_a_shipped_model_reaches_its_floor(name: str, data_dir: Path) -> None:
    assert install_shipped()[name].startswith(f"{name}:")
    try:
        measured = asyncio.run(figures(name, data_dir))
    except FileNotFoundError as error:
        if name not in IN_PACKAGES:
            raise
        pytest.skip(str(error))
    assert all(measured[group] >= floor for group, floor in FLOORS[name].items()), measured


@pytest.mark.data
@pytest.mark.whisper
def test_whisper_reaches_its_word_error_rate(data_dir: Path) -> None:
    install_shipped()
    assert asyncio.run(figures("automatic-speech-recognition", data_dir))["test-other"] <= 14.5
