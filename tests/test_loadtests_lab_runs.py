"""Whole runs against a server whose delays and stalls are known, and against broken ones."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from loadtests.__main__ import app
from loadtests.lab.plan import Load
from loadtests.lab.scripted import Script, thawed_s
from loadtests.results import Fault, Run, read
from loadtests.serving.processes import free_port

ROOT = Path(__file__).parent.parent
Serve = Callable[..., tuple[str, str]]


@contextmanager
def scripted() -> Iterator[Serve]:
    """Starts scripted servers; returns their HTTP and gRPC addresses."""
    started = []

    def start(**script: Any) -> tuple[str, str]:
        ports = free_port(), free_port()
        told = Script(http_port=ports[0], grpc_port=ports[1], **script).model_dump_json()
        command = [sys.executable, "-m", "loadtests.lab.scripted", told]
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE)
        started.append(process)
        assert process.stdout
        assert process.stdout.readline() == b"ready\n"
        return f"http://127.0.0.1:{ports[0]}", f"127.0.0.1:{ports[1]}"

    try:
        yield start
    finally:
        for process in started:
            process.kill()
            process.communicate()


@pytest.fixture
def serve() -> Iterator[Serve]:
    with scripted() as start:
        yield start


@pytest.fixture(scope="module")
def steady() -> Iterator[tuple[str, str]]:
    """A server for all who ask no other of it."""
    with scripted() as start:
        yield start(delay_s=0.05)


def arguments(server: tuple[str, str], *options: object) -> list[str]:
    url, grpc = server
    head = [str(options[0]), "--against", url, "--grpc", grpc, "--task", "translation"]
    return [*head, *map(str, options[1:])]


def begun(
    server: tuple[str, str], *options: object, stdout: int = subprocess.PIPE
) -> subprocess.Popen[str]:
    """The command in a process of its own."""
    command = [sys.executable, "-m", "loadtests", *arguments(server, *options)]
    return subprocess.Popen(command, cwd=ROOT, stdout=stdout, text=True)


def done(server: tuple[str, str], *options: object) -> Result:
    """The command in this process, which spares it what it imports."""
    return CliRunner().invoke(app, arguments(server, *options))


def measured(path: Path) -> Run:
    run = read(path)
    assert isinstance(run, Run)
    return run


def percentile_ms(times_s: list[float], ratio: float) -> float:
    return sorted(times_s)[round(ratio * len(times_s)) - 1] * 1e3


@pytest.mark.alone
def test_an_open_load_sees_the_stalls_that_a_closed_loop_hides(
    serve: Serve, tmp_path: Path
) -> None:
    """The truth follows from the script: freezes of 2 s every 10 s, and a delay of 300 ms."""
    script = Script(http_port=0, delay_s=0.3, freeze_every_s=10, freeze_s=2)
    duration_s, rate_per_s = 22.0, 230.0
    due_s = list(Load(name="", duration_s=duration_s, rate_per_s=rate_per_s).moments(Random(0)))
    # Two calls, one after the other, have been answered before the first of these.
    server = serve(delay_s=0.3, freeze_every_s=10, freeze_s=2, freezes_from=2)
    since_s = [at_s - due_s[0] for at_s in due_s]
    truth_s = [thawed_s(at_s + script.delay_s, script) - at_s for at_s in since_s]
    options = ("--door", "REST", "--duration", duration_s)
    closed = ("--scenario", "closed", "--users", 4, *options, "--out", tmp_path / "closed.json")
    other = serve(delay_s=0.3, freeze_every_s=10, freeze_s=2, freezes_from=2)
    beside = begun(other, "run", *closed, stdout=subprocess.DEVNULL)
    opened = done(server, "run", "--rate", rate_per_s, *options, "--out", tmp_path / "open.json")
    beside.communicate(timeout=60)
    (cell,) = measured(tmp_path / "open.json").cells()
    assert cell.answered == cell.due == len(due_s), opened.stdout + opened.stderr
    for ratio in (0.5, 0.99, 0.999):
        expected = percentile_ms(truth_s, ratio)
        assert cell.latency.percentile_ms(ratio) == pytest.approx(expected, rel=0.05), ratio
    (cell,) = measured(tmp_path / "closed.json").cells()
    assert percentile_ms(truth_s, 0.95) > 1_000
    assert cell.latency.percentile_ms(0.95) < 600, "it sent nothing while the server was frozen"


def test_two_generators_send_what_one_sends_and_their_histograms_are_merged(
    steady: tuple[str, str], tmp_path: Path
) -> None:
    options = ("--rate", 300, "--duration", 2.5, "--out", tmp_path / "run.json")
    told = done(steady, "run", *options, "--generators", 2)
    run = measured(tmp_path / "run.json")
    due = len(list(Load(name="", duration_s=2.5, rate_per_s=300).moments(Random(0))))
    assert sum(cell.answered for cell in run.cells()) == due, told.stdout + told.stderr
    assert {cell.door for cell in run.cells()} == {"REST", "gRPC"}
    assert sum(cell.latency.count for cell in run.cells()) == run.send_lag.count == due
    assert sum(second.offered for second in run.timeline) == due
    assert run.terms.workers == 2


@pytest.mark.parametrize(
    ("scenario", "options", "requests"),
    [
        ("single-stream", (), range(10, 40)),
        ("multi-stream", ("--samples", 4), range(10, 40)),
        ("offline", ("--samples", 60, "--users", 8), range(60, 61)),
        ("step", ("--rate", 100), range(60, 120)),
        ("spike", ("--rate", 50), range(80, 180)),
        ("soak", ("--rate", 60), range(60, 120)),
    ],
)
def test_every_scenario_sends_what_its_name_says(
    scenario: str,
    options: tuple[object, ...],
    requests: range,
    steady: tuple[str, str],
    tmp_path: Path,
) -> None:
    path = tmp_path / "run.json"
    told = done(
        steady, "run", "--scenario", scenario, "--duration", 1.5, "--door", "REST",
        "--percentile", 0.5, *options, "--out", path,
    )  # fmt: skip
    run = measured(path)
    (cell,) = run.cells()
    assert cell.answered in requests, told.stdout
    assert cell.items == cell.answered * (4 if scenario == "multi-stream" else 1)
    assert run.terms.scenario == scenario


def test_a_wrong_answer_voids_the_run_and_its_first_words_are_shown(
    serve: Serve, tmp_path: Path
) -> None:
    server = serve(wrong_after=20)
    told = done(server, "run", "--door", "REST", "--rate", 100, "--duration", 6)
    assert told.exit_code == 1
    said = " ".join(told.stdout.split())
    assert "answers of translation REST are wrong" in said
    assert "nonsense" in said


def test_a_storm_of_500s_ends_the_run_and_leaves_an_invalid_file(
    serve: Serve, tmp_path: Path
) -> None:
    path = tmp_path / "run.json"
    options = ("--door", "REST", "--rate", 200, "--duration", 60, "--out", path)
    told = done(serve(fails_after=300), "run", *options)
    assert told.exit_code == 1
    run = measured(path)
    assert run.duration_s < 20, "it does not go on for a minute"
    assert any("requests on REST failed" in reason and "500" in reason for reason in run.void)
    assert run.cells()[0].answered > 200
    assert run.cells()[0].faults[Fault.FAILED].first.startswith("500")


def test_a_run_too_short_for_its_claim_says_how_long_it_must_be(steady: tuple[str, str]) -> None:
    told = done(steady, "run", "--door", "REST", "--rate", 50, "--duration", 2)
    assert told.exit_code == 1
    assert "too short for its claim" in told.stdout
    assert "p99 needs 459" in told.stdout


@pytest.mark.parametrize("generators", [1, 2])
def test_ctrl_c_leaves_what_was_measured_and_says_so(
    generators: int, steady: tuple[str, str], tmp_path: Path
) -> None:
    path = tmp_path / "run.json"
    options = ("--rate", 100, "--duration", 60, "--generators", generators, "--out", path)
    process = begun(steady, "run", *options)
    assert process.stdout
    assert "answered" in process.stdout.readline()
    process.send_signal(signal.SIGINT)
    told, _ = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "invalid: interrupted" in told
    assert "interrupted" in measured(path).void
    assert sum(cell.answered for cell in measured(path).cells()) > 50


def test_a_server_that_is_not_there_is_named() -> None:
    told = done((f"http://127.0.0.1:{free_port()}", "127.0.0.1:9"), "run")
    assert told.exit_code == 2
    assert "does not answer" in told.stderr


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ({"status": 404}, "the server has no such door: 404"),
        ({"body": "<html>"}, "not an answer of this door"),
        ({"status": 503}, "refused: 503"),
    ],
)
def test_a_server_of_another_kind_is_reported_as_such(
    script: dict[str, Any], words: str, serve: Serve
) -> None:
    told = done(serve(**script), "run", "--door", "REST")
    assert told.exit_code == 2
    assert words in " ".join(told.stderr.split())


def test_a_server_that_answers_something_else_from_the_start_voids_the_run(serve: Serve) -> None:
    told = done(
        serve(body='{"translations": []}'), "run", "--door", "REST", "--rate", 100, "--duration", 1
    )
    assert told.exit_code == 1
    assert "'Bücher' is not in" in told.stdout


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--door", "SOAP"), "no such door: SOAP"),
        (("--scenario", "sever"), "'sever' is none of"),
        (("--payloads", "/nowhere"), "neither a folder nor a trace"),
        (("--scenario", "replay", "--duration", "1"), "replay needs a trace"),
        (("--task", "summarisation"), "no such task: summarisation"),
        (("--task", "translation=much"), "is not NAME=NUMBER"),
    ],
)
def test_options_that_make_no_sense_are_refused_with_a_reason(
    options: tuple[str, ...], words: str, steady: tuple[str, str]
) -> None:
    told = done(steady, "run", *options)
    assert told.exit_code == 2
    assert words in " ".join(told.stderr.replace("│", " ").split())


def test_what_passes_the_recorder_is_replayed_at_the_same_moments(
    steady: tuple[str, str], tmp_path: Path
) -> None:
    url, grpc = steady
    port, trace = free_port(), tmp_path / "trace.jsonl"
    recorder = subprocess.Popen(
        [sys.executable, "-m", "loadtests", "record", "--against", url, "--out", str(trace),
         "--port", str(port)],
        cwd=ROOT, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert recorder.stdout
    assert "recording" in recorder.stdout.readline()
    options = ("--door", "REST", "--rate", 40, "--duration", 2, "--percentile", 0.5)
    done((f"http://127.0.0.1:{port}", grpc), "run", *options, "--out", tmp_path / "first.json")
    recorder.send_signal(signal.SIGINT)
    recorder.communicate(timeout=30)
    sent = measured(tmp_path / "first.json").cells()[0].sent
    lines = [json.loads(line) for line in trace.read_text().splitlines()]
    assert len(lines) == sent + 2, "the two that asked for the golden answer came first"
    told = done(
        (url, grpc), "run", "--scenario", "replay", "--payloads", trace, "--door", "REST",
        "--percentile", 0.5, "--out", tmp_path / "again.json",
    )  # fmt: skip
    again = measured(tmp_path / "again.json")
    assert again.cells()[0].answered == len(lines), told.stdout + told.stderr
    assert again.duration_s == pytest.approx(lines[-1]["at_s"], abs=0.5)
