"""The doors of the load lab enter the service itself, with the shipped models behind them."""

import pytest
from typer.testing import CliRunner

from loadtests.__main__ import app
from loadtests.lab.doors import doors
from loadtests.results import Run, read

EVERYWHERE = {"REST", "gRPC", "OIP-REST", "OIP-gRPC", "HuggingFace"}
STREAMS = {"REST-stream", "gRPC-stream"}
DOORS = {
    "image-classification": EVERYWHERE,
    "object-detection": EVERYWHERE,
    "unconditional-image-generation": EVERYWHERE - {"HuggingFace"},
    "graph-classification": EVERYWHERE - {"HuggingFace"},
    "node-classification": EVERYWHERE - {"HuggingFace"},
    "audio-classification": EVERYWHERE,
    "translation": EVERYWHERE | STREAMS | {"LibreTranslate"},
    "automatic-speech-recognition": EVERYWHERE | STREAMS | {"OpenAI"},
}


@pytest.fixture(scope="module")
def run(every_surface: tuple[str, str], tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A short load on every door at once, its answers held against the known ones."""
    http, rpc = every_surface
    out = tmp_path_factory.mktemp("doors") / "run.json"
    options = ["--against", f"127.0.0.1:{http}", "--grpc", f"127.0.0.1:{rpc}"]
    options += [word for name in doors() for word in ("--door", name)]
    options += ["--scenario", "offline", "--samples", "400", "--users", "4"]
    told = CliRunner().invoke(app, ["run", *options, "--out", str(out)])
    assert out.exists(), told.output
    found = read(out)
    assert isinstance(found, Run)
    return found


def test_every_task_is_measured_on_every_door_that_has_it(run: Run) -> None:
    measured = {(cell.task, cell.door) for cell in run.cells()}
    assert measured == {(task, door) for task, names in DOORS.items() for door in names}
    assert not run.server.absent


def test_every_answer_is_the_known_one(run: Run) -> None:
    assert [reason for reason in run.void if "too short for its claim" not in reason] == []
    for cell in run.cells():
        assert cell.answered == cell.sent > 0, (cell.task, cell.door, cell.faults)


def test_streams_tell_when_their_first_text_came(run: Run) -> None:
    for cell in run.cells():
        assert bool(cell.first_token.count) == (cell.door in STREAMS), (cell.task, cell.door)
