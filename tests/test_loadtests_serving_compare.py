"""Servers compared: how each is asked, what is skipped and why, and what is shown of the rest."""

import asyncio
import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from threading import Lock, Thread
from typing import Any

import psutil
import pytest
from typer.testing import CliRunner

from loadtests.clock import Clock
from loadtests.peers.machine import machine
from loadtests.serving.bench.servers import Missing, Places, python_of
from loadtests.serving.calls import Caller
from loadtests.serving.compare import chart, page, record
from loadtests.serving.compare import measure as measuring
from loadtests.serving.compare.__main__ import app, compare, compare_all
from loadtests.serving.compare.adapters import (
    BENTOML,
    LITSERVE,
    OIP,
    OPENAI,
    RAW,
    Adapter,
    Payload,
    payload,
    said,
)
from loadtests.serving.compare.measure import alone, words
from loadtests.serving.compare.payloads import payloads
from loadtests.serving.compare.peers import ATTENDANT, PEERS, Peer, on
from loadtests.serving.compare.record import Compared, Comparison, Figures, TaskRecord, Terms
from loadtests.serving.peers.served import Served
from loadtests.serving.processes import NotStarted, Running
from service.tasks import task

PICTURE = "image-classification"
NOWHERE = Path("nowhere")
CAT = {"labels": [{"label": "cat", "score": 0.9}]}
TERMS = Terms(
    requests=2,
    callers=2,
    warm_s=0.1,
    closed_s=0.2,
    bound_ms=100,
    percentile=0.5,
    duration_s=0.2,
    precision=4,
    threads=1,
    seed=0,
)


def example(name: str) -> Payload:
    of = task(name)
    return payload(of, of.example())


@pytest.fixture(autouse=True)
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is left over by a trial here."""
    monkeypatch.setattr(measuring, "SETTLE_S", 0.01)


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places(NOWHERE, tmp_path / "environments", tmp_path / "works", NOWHERE, 1)


@contextmanager
def answering(answer: Callable[[], Any], status: int = 200) -> Iterator[Running]:
    one_at_a_time = Lock()

    class Door(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            with one_at_a_time:  # 50 requests a second, so that a search for the most soon ends
                time.sleep(0.02)
            body = json.dumps(answer()).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Door)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield Running(psutil.Process(), f"http://127.0.0.1:{server.server_port}", NOWHERE)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def peer(start: Callable[[], Any], name: str = "fake") -> Peer:
    return Peer(name, "at once", (PICTURE,), (), "", RAW, lambda *_: start())


def measure(
    start: Callable[[], Any],
    places: Places,
    reference: list[str] | None = None,
    share_s: float = 60.0,
) -> Compared:
    known = [example(PICTURE)] * TERMS.requests
    found, _ = compare(peer(start), places, PICTURE, known, TERMS, reference, share_s=share_s)
    return found


@pytest.mark.parametrize(
    ("adapter", "path", "sent"),
    [
        (LITSERVE, "/translation", {"content": example("translation").text}),
        (BENTOML, "/translation", {"contents": [example("translation").text]}),
        (
            OIP,
            "/v2/models/translation/infer",
            {
                "inputs": [
                    {
                        "name": "content",
                        "datatype": "BYTES",
                        "shape": [1, 1],
                        "data": [example("translation").text],
                    }
                ]
            },
        ),
        (RAW, "/translation", json.loads(example("translation").content)),
    ],
)
def test_every_kind_of_server_is_asked_in_its_own_words(
    adapter: Adapter, path: str, sent: Any
) -> None:
    asked = adapter.ask(example("translation"))
    assert (asked.path, json.loads(asked.body)) == (path, sent)
    assert asked.content_type == "application/json"


def test_a_picture_is_the_body_where_a_server_takes_bytes() -> None:
    asked = RAW.ask(example(PICTURE))
    assert asked.body == task(PICTURE).example().model_dump()["image"]
    assert asked.content_type == "application/octet-stream"


def test_a_recording_is_a_file_of_a_form_where_a_server_speaks_as_openai() -> None:
    of = example("automatic-speech-recognition")
    asked = OPENAI.ask(of)
    assert asked.path == "/v1/audio/transcriptions"
    assert of.content in asked.body
    assert asked.content_type.startswith("multipart/form-data")


@pytest.mark.parametrize(
    ("adapter", "answer"),
    [
        (RAW, CAT),
        (BENTOML, [CAT]),
        (OIP, {"outputs": [{"name": "answer", "data": [json.dumps(CAT)]}]}),
    ],
)
def test_the_label_is_found_in_every_kind_of_answer(adapter: Adapter, answer: Any) -> None:
    assert said(adapter.answer(answer)) == "cat"


@pytest.mark.parametrize(
    ("answer", "wanted"),
    [({"translations": [{"text": "a"}, {"text": "b"}]}, "a\nb"), ({"text": " Hello. "}, "Hello.")],
)
def test_texts_are_what_an_answer_says(answer: Any, wanted: str) -> None:
    assert said(answer) == wanted


def test_transcripts_that_differ_in_signs_only_say_the_same() -> None:
    assert words(" It's late, Mr. Hale.") == words("it's late mr hale")
    assert words("It is late.") != words("It was late.")


@pytest.mark.parametrize("name", [PICTURE, "audio-classification", "translation"])
def test_without_data_requests_are_made_and_the_same_for_a_seed(name: str) -> None:
    first, again = (payloads(name, NOWHERE, 3, seed=1) for _ in range(2))
    assert [each.content for each in first] == [each.content for each in again]
    assert len({each.content for each in first}) > 1


def test_a_plain_loop_translates_a_batch_as_each_is_translated_alone() -> None:
    served = Served("translation", threads=1)
    batch = [served.read(each.content) for each in payloads("translation", NOWHERE, 5, seed=2)]
    together = [said(each) for each in served.answer(batch)]
    of = served.task
    for asked, text in zip(batch, together, strict=True):
        rows = of.forward(served.model, served.assets, asked.items)
        ours = of.postprocess(asked.request, served.assets, asked.items, rows)
        assert said(ours.model_dump()) == text


def test_text_and_bytes_are_read_as_the_same_request() -> None:
    served, of = Served(PICTURE, threads=1), example(PICTURE)
    answers = served.answer([served.read(of.content), served.read_text(of.text)])
    assert answers[0] == answers[1]
    assert said(answers[0]) == "cat"
    assert "timings_ms" not in answers[0]


def test_plain_bentoml_answers_as_the_task_does(places: Places) -> None:
    bentoml = next(each for each in PEERS if each.name == "BentoML")

    async def ask(url: str) -> list[str]:
        async with Caller(url) as caller:
            return await alone(caller, bentoml.adapter, [example(PICTURE)])

    with bentoml.start(places, PICTURE) as server:
        assert asyncio.run(ask(server.url)) == ["cat"]


def test_a_server_is_measured_and_its_answers_are_held_against_the_reference(
    places: Places,
) -> None:
    found = measure(lambda: answering(lambda: CAT), places, reference=["cat", "dog"])
    assert found.status == "measured", found.reason
    assert found.figures
    assert found.figures.closed_per_s > 0
    assert found.figures.open_per_s
    assert found.figures.same_ratio == 0.5


def test_no_rate_is_tried_when_the_time_of_a_server_is_over(places: Places) -> None:
    found = measure(lambda: answering(lambda: CAT), places, share_s=0.3)
    assert found.figures
    assert found.figures.closed_per_s > 0
    assert (found.figures.trials, found.figures.open_per_s) == (0, None)


def test_what_one_server_leaves_of_its_time_is_for_those_after_it() -> None:
    clock = Clock(100, [1, 3, 1])
    assert clock.share_s() == pytest.approx(20, abs=0.5)
    assert clock.share_s() == pytest.approx(75, abs=0.5)
    assert clock.share_s() == pytest.approx(100, abs=0.5)
    assert Clock(0, [1]).share_s() == 0
    assert Clock(9, [0]).share_s() == 0


def test_answers_that_change_under_load_do_not_count(places: Places) -> None:
    number = count()

    def drifting() -> dict[str, Any]:
        label = "cat" if next(number) < TERMS.requests else "dog"
        return {"labels": [{"label": label, "score": 1.0}]}

    found = measure(lambda: answering(drifting), places)
    assert found.figures
    assert found.figures.closed_per_s == 0
    assert found.figures.open_per_s is None


def test_a_server_that_answers_nothing_has_failed_and_says_how(places: Places) -> None:
    found = measure(lambda: answering(lambda: {"error": "no model"}, status=404), places)
    assert found.status == "failed"
    assert "no model" in found.reason


def test_a_server_that_says_nothing_is_not_measured(places: Places) -> None:
    found = measure(lambda: answering(lambda: {"labels": [{"label": ""}]}), places)
    assert (found.status, found.reason) == ("skipped", "all its answers are empty")
    assert found.figures is None


def failing(error: Exception) -> Callable[[], Any]:
    @contextmanager
    def start() -> Iterator[Running]:
        raise error
        yield

    return start


def test_a_server_that_is_not_installed_is_skipped_with_the_reason(places: Places) -> None:
    found = measure(failing(Missing("no package index has it")), places)
    assert (found.status, found.reason) == ("skipped", "no package index has it")


def test_speaches_is_skipped_because_no_index_has_it(places: Places) -> None:
    speaches = next(each for each in PEERS if each.name == "speaches")
    known = [example("automatic-speech-recognition")]
    found, _ = compare(speaches, places, speaches.tasks[0], known, TERMS, None, share_s=1)
    assert found.status == "skipped"
    assert "no package index has it" in found.reason


def test_a_server_that_does_not_start_has_failed_with_its_last_words(places: Places) -> None:
    found = measure(failing(NotStarted("port taken")), places)
    assert (found.status, found.reason) == ("failed", "port taken")


def test_one_that_is_missing_does_not_keep_the_others_from_being_measured(places: Places) -> None:
    peers = [
        peer(lambda: answering(lambda: CAT), ATTENDANT.name),
        peer(failing(Missing("gone")), "gone"),
        peer(lambda: answering(lambda: CAT), "other"),
    ]
    known = [example(PICTURE)]
    clock, told = Clock(60, [1, 1, 1]), list[str]()
    task_record = compare_all(peers, places, PICTURE, known, TERMS, clock, told.append)
    assert [line.split(": ")[1] for line in told] == [ATTENDANT.name, "gone", "other"]
    assert [each.status for each in task_record.peers.values()] == [
        "measured",
        "skipped",
        "measured",
    ]


def test_an_environment_that_is_missing_or_not_whole_is_told_apart(places: Places) -> None:
    with pytest.raises(Missing, match="not installed"):
        python_of("peers-ray", places)
    python = places.environments / "peers-ray" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    assert python_of("peers-ray", places, "json") == str(python)
    with pytest.raises(Missing, match="not all of it"):
        python_of("peers-ray", places, "no_such_module")


def test_every_peer_has_tasks_and_requirements_that_exist() -> None:
    for each in PEERS:
        assert set(each.tasks) <= {one.name for one in map(task, each.tasks)}
        if each.environment:
            assert Path(f"requirements/{each.environment}.txt").exists(), each.name


def test_ours_is_always_there_and_first() -> None:
    assert [each.name for each in on(PICTURE, ["LitServe"])] == ["Attendant", "LitServe"]
    assert on("automatic-speech-recognition")[-1].name == "speaches"


def figures(closed_per_s: float, open_per_s: float | None) -> Figures:
    return Figures(
        closed_per_s=closed_per_s,
        open_per_s=open_per_s,
        p50_ms=None if open_per_s is None else 10.0,
        p99_ms=None if open_per_s is None else 90.0,
        fails_per_s=None if open_per_s is None else open_per_s * 1.1,
        trials=5,
        same_ratio=1.0,
    )


@pytest.fixture
def comparison() -> Comparison:
    def measured(closed_per_s: float, open_per_s: float | None) -> Compared:
        of = figures(closed_per_s, open_per_s)
        return Compared(status="measured", versions={"ray": "2"}, figures=of)

    peers = {
        "Attendant": measured(200, 150),
        "slow": measured(20, None),
        "fast": measured(100, 50),
        "gone": Compared(status="skipped", reason="not | installed\nat all"),
    }
    of = TaskRecord(date="2026-01-01", machine=machine(), terms=TERMS, peers=peers)
    return Comparison(tasks={PICTURE: of})


def test_rows_are_ordered_and_have_ratios_and_reasons(comparison: Comparison) -> None:
    ours, fast, slow, gone = page.rows(comparison.tasks[PICTURE])
    assert [row[0] for row in (ours, fast, slow, gone)] == ["Attendant", "fast", "slow", "gone"]
    assert ours[1:3] == ["200", "150"]
    assert fast[1:3] == ["100 2.00x", "50 3.00x"]
    assert fast[3] == "55"
    assert slow[1:4] == ["20 10.00x", "none", "–"]
    assert gone[-1] == "skipped: not | installed"


def test_the_page_names_the_terms_the_machine_and_the_versions(comparison: Comparison) -> None:
    text = page.page(comparison)
    for part in ("p50 under 100 ms", machine().cpu, "ray 2", "not \\| installed", "peers.png"):
        assert part in text
    assert page.table(PICTURE, comparison.tasks[PICTURE]).row_count == 4


def test_what_is_recorded_is_read_back_and_drawn(comparison: Comparison, tmp_path: Path) -> None:
    file = tmp_path / "docs" / "peers.json"
    record.write(comparison, file)
    assert record.read(file) == comparison
    chart.draw(comparison, tmp_path / "peers.png")
    assert (tmp_path / "peers.png").read_bytes().startswith(b"\x89PNG")


def test_nothing_measured_is_not_drawn(tmp_path: Path) -> None:
    chart.draw(record.read(tmp_path / "none.json"), tmp_path / "peers.png")
    assert not (tmp_path / "peers.png").exists()


@pytest.mark.parametrize("options", [["--peer", "Torchserve"], ["--task", "poetry"]])
def test_a_name_that_nobody_knows_ends_it_at_once(options: list[str]) -> None:
    began_s = time.monotonic()
    done = CliRunner().invoke(app, options)
    assert done.exit_code == 2
    assert options[1] in done.output
    assert time.monotonic() - began_s < 5
