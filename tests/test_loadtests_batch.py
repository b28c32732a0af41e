"""A short form of what offline batch is held to, and inputs for every task."""

from pathlib import Path

import pytest
import typer
from bentoml._internal.configuration.containers import BentoMLContainer
from typer.testing import CliRunner

from loadtests.batch.__main__ import main
from loadtests.batch.inputs import written
from loadtests.batch.kills import killed
from loadtests.serving.verdict import read
from service.batch.asking import Asking, content_field
from service.batch.records import records
from service.tasks import Task, tasks


@pytest.mark.parametrize("task", tasks(), ids=lambda task: task.name)
def test_every_task_has_items_that_its_requests_can_be_made_of(task: Task, tmp_path: Path) -> None:
    fixed = {"source": "en", "target": "de"} if task.name == "translation" else {}
    asking = Asking(task, {}, fixed, tmp_path)
    found = list(records(written(task, 3, tmp_path), content_field(task)))
    assert len(found) == 3
    for one in found:
        task.request.model_validate(asking.request(one.read()))


@pytest.fixture
def store(own_store: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes look into the store of the test."""
    monkeypatch.setenv("BENTOML_HOME", BentoMLContainer.bentoml_home.get())


def test_a_batch_that_was_killed_has_every_item_once(store: None, tmp_path: Path) -> None:
    row = killed(300, 1, tmp_path)
    assert (row.met, row.saw) == (
        "yes", "1 kills, 300 of 300 items; 0 lost, 0 repeated, 0 not as undisturbed",
    )  # fmt: skip


def test_what_was_compared_is_recorded(store: None, tmp_path: Path) -> None:
    app = typer.Typer()
    app.command()(main)
    file = tmp_path / "record.json"
    options = ["--task", "graph-classification", "--items", "20", "--rounds", "1", "--kills", "0"]
    done = CliRunner().invoke(app, [*options, "--record", str(file)])
    assert done.exit_code in (0, 1), done.output  # so short a run may miss its bound
    (row,) = read(file).commands["bench-batch"].rows
    assert (row.tried, row.wanted) == ("graph-classification", "at least 0.95 x the engine")
