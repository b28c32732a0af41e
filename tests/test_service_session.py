"""A model's graphs run, and a run that nobody waits for any more is ended."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from service.store import open_model
from service.tasks import task

TRANSLATION = task("translation")


def test_a_run_that_is_under_way_can_be_ended_and_the_next_is_none_the_worse(
    tiny_translation: Path,
) -> None:
    model, _ = open_model(tiny_translation, TRANSLATION, threads=1)
    model.stop()  # nothing runs: nothing happens
    many = {
        "source": np.full((512, 64), 5),
        "source_lengths": np.full(512, 64),
    }
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(model.run, "encoder", many)
        while not running.done():
            model.stop()
        with pytest.raises(Exception, match="terminate"):
            running.result()
    few = {name: array[:2] for name, array in many.items()}
    assert len(model.run("encoder", few)["cross_key_0"]) == 2
